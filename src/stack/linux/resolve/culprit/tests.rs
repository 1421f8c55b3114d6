mod owners;

use std::sync::Arc;

use super::*;

const MODULE: &str = "/srv/bin/app";
const CARGO: &str = "/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f";
const STD: &str = "/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library";
const MAIN: &str = "/home/u/app/src/main.rs";

/// A call with its file, in the program.
fn call(function: &str, file: &str) -> Frame {
    Frame {
        module: Some(MODULE.to_owned()),
        ..Frame::of(function, (!file.is_empty()).then_some(file))
    }
}

fn unnamed(module: Option<&str>) -> Frame {
    Frame {
        function: None,
        module: module.map(str::to_owned),
        ..Frame::of("", None)
    }
}

fn own(prefixes: &[&str]) -> OwnCode {
    let prefixes = prefixes.iter().map(|prefix| Box::from(*prefix));
    OwnCode(Some(Arc::from_iter(prefixes)))
}

/// Returns the culprit of a stack, by its function.
fn culprit_of<'a>(calls: &'a [Frame], own: &OwnCode) -> Option<&'a str> {
    let index = Program::new(MODULE, &[], own).culprit(calls, &Doubts::default())?;
    calls[index].function()
}

fn owner(call: &Frame) -> Owner {
    Program::new(MODULE, &[], &own(&[])).owner(call)
}

#[test]
fn it_is_the_innermost_call_of_the_users_own_code() {
    let calls = [
        unnamed(Some("/lib/libc.so.6")),
        call(
            "std::thread::functions::sleep",
            &format!("{STD}/std/src/thread/functions.rs"),
        ),
        call(
            "dashmap::lock::RawRwLock::lock_slow",
            &format!("{CARGO}/dashmap-6.2.1/src/lock.rs"),
        ),
        call(
            "core::ops::function::FnOnce::call_once",
            &format!("{STD}/core/src/ops/function.rs"),
        ),
        call("app::store::{{closure}}", MAIN),
        call("<T as app::Handler>::call", MAIN),
    ];
    assert_eq!(
        culprit_of(&calls, &own(&[])),
        Some("app::store::{{closure}}")
    );
    assert_eq!(culprit_of(&calls[..4], &own(&[])), None);
    assert_eq!(culprit_of(&[], &own(&[])), None);
}

/// As `profile.dev.package."*"` with `debug = false` leaves it.
#[test]
fn where_the_users_code_has_files_crates_without_any_are_dependencies() {
    let calls = [
        call("clock_nanosleep", ""),
        call("dashmap::lock::RawRwLock::lock_slow", ""),
        call("some_crate::wait", ""),
        call("app::store", MAIN),
    ];
    let none = own(&[]);
    assert_eq!(culprit_of(&calls, &none), Some("app::store"));
    // The files may be missing because there is too much debug information.
    let program = Program::new(MODULE, &[], &none);
    let doubts = Doubts {
        are_lines_missing: true,
        ..Doubts::default()
    };
    assert_eq!(program.culprit(&calls, &doubts), None);
    assert_eq!(program.culprit(&calls[3..], &doubts), Some(0));
}

#[test]
fn of_a_doubtful_stack_none_is_named_unless_it_is_certain() {
    let calls = [unnamed(None), call("app::store", MAIN)];
    let none = own(&[]);
    let program = Program::new(MODULE, &[], &none);
    for (is_scanned, is_unwinding, generated, expected) in [
        (false, false, true, Some(1)),
        (true, false, true, None),
        (true, false, false, Some(0)),
        (false, true, false, None),
    ] {
        let doubts = Doubts {
            is_scanned,
            is_unwinding,
            ..Doubts::default()
        };
        let calls = &calls[usize::from(!generated)..];
        assert_eq!(program.culprit(calls, &doubts), expected, "{doubts:?}");
    }
}

#[test]
fn a_call_that_may_be_the_users_hides_those_further_out() {
    let calls = [
        call("clock_nanosleep", ""),
        call("tokio::time::sleep", ""),
        call("orders::save", ""),
        call("app::serve", ""),
    ];
    let of =
        |calls: &[Frame], prefixes: &[&str]| culprit_of(calls, &own(prefixes)).map(str::to_owned);
    assert_eq!(of(&calls, &[]), None);
    assert_eq!(of(&calls[3..], &[]).as_deref(), Some("app::serve"));
    assert_eq!(of(&calls, &["orders"]).as_deref(), Some("orders::save"));
    let stripped = [unnamed(Some("/lib/libc.so.6")), unnamed(Some(MODULE))];
    assert_eq!(of(&stripped, &[]), None);
}

#[test]
fn what_the_user_says_overrules_the_rest() {
    let vendored = "/home/u/app/vendor/shop-orders/src/lib.rs";
    let fetched = format!("{CARGO}/shop-orders-1.0.0/src/lib.rs");
    for (function, file, prefix, expected) in [
        ("shop_orders::save", vendored, "shop", true),
        ("shop_orders::save", vendored, "shop::", false),
        ("shop_orders::save", &fetched, "shop_orders::", true),
        (
            "shop_orders::api::save",
            &fetched,
            "shop_orders::api::",
            true,
        ),
        ("shop_orders::save", &fetched, "shop_orders::api::", false),
        ("shop_orders::save", "", "shop_", true),
        (
            "<shop_orders::Foo as core::fmt::Display>::fmt",
            vendored,
            "shop_orders",
            true,
        ),
        (
            "shop_orders::_::<impl serde_core::de::Deserialize for shop_orders::Order>::deserialize",
            vendored,
            "shop_orders",
            false,
        ),
        (
            "<T as shop_orders::Handler>::call",
            vendored,
            "shop_orders",
            true,
        ),
        (
            "<&T as core::fmt::Display>::fmt::<shop_orders::Foo>",
            &fetched,
            "shop_orders",
            false,
        ),
        (
            "core::ptr::drop_in_place<shop_orders::Foo>",
            "",
            "shop_orders",
            false,
        ),
        ("myshop_orders::save", vendored, "shop_orders", false),
        ("tokio::time::sleep", &fetched, "tokio::", true),
    ] {
        let own = own(&[prefix]);
        let owner = Program::new(MODULE, &[], &own).owner(&call(function, file));
        assert_eq!(
            owner == Owner::User,
            expected,
            "{function} in {file} by {prefix}"
        );
    }
}

#[test]
fn a_program_is_named_after_its_crate() {
    for (module, name) in [
        ("/srv/app/target/release/my-app", "my_app"),
        ("/srv/app (deleted)", "app"),
        ("/srv/target/debug/deps/it-0123456789abcdef", "it"),
        ("/srv/app-0123456789", "app_0123456789"),
        ("/usr/lib/libmy_app.so", "my_app"),
        ("/usr/lib/python3/my_app.abi3.so", "my_app"),
        ("/usr/lib/libmy_app.so.1", "my_app"),
        ("/usr/bin/library", "library"),
        ("/usr/bin/lib.app", "lib.app"),
        ("[vdso]", "[vdso]"),
        ("", ""),
    ] {
        assert_eq!(crates::named_after(module), name, "{module}");
    }
}
