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

#[test]
fn the_file_decides_whose_a_call_is() {
    let function_rs = format!("{STD}/core/src/ops/function.rs");
    let tokio = format!("{CARGO}/tokio-1.54.1/src/time/sleep.rs");
    let generated = "/home/u/app/target/debug/build/app-0123456789abcdef/out/api.rs";
    for (function, file, expected) in [
        ("app::main::{{closure}}", MAIN, Owner::User),
        (
            "orders::save",
            "/home/u/app/crates/orders/src/lib.rs",
            Owner::User,
        ),
        (
            "core::save",
            "/home/u/app/crates/core/src/lib.rs",
            Owner::User,
        ),
        ("load", MAIN, Owner::User),
        ("on_event", MAIN, Owner::User),
        (
            "<app::Foo as tokio::io::AsyncRead>::poll_read",
            MAIN,
            Owner::User,
        ),
        (
            "<tokio::net::TcpStream as app::Named>::name",
            MAIN,
            Owner::User,
        ),
        // The user's closure in a function of std.
        ("app::main::{{closure}}", &function_rs, Owner::Others),
        (
            "<app::Foo as core::iter::Iterator>::for_each",
            &function_rs,
            Owner::Others,
        ),
        ("app::Foo::wait", &tokio, Owner::Others),
        // The runtime, patched.
        (
            "tokio::time::sleep",
            "/home/u/tokio/tokio/src/time/sleep.rs",
            Owner::Others,
        ),
        (
            "<tokio::time::Sleep as core::future::future::Future>::poll",
            "/home/u/tokio/tokio/src/time/sleep.rs",
            Owner::Others,
        ),
        (
            "loopmon::stack::own",
            "/home/u/loopmon/src/stack.rs",
            Owner::Others,
        ),
        // What `derive(Deserialize)` writes has the line of the type.
        (
            "app::_::<impl serde_core::de::Deserialize for app::Order>::deserialize",
            MAIN,
            Owner::Others,
        ),
        (
            "<app::_::<impl serde_core::de::Deserialize for app::Order>::deserialize::__Visitor as \
             serde_core::de::Visitor>::visit_map",
            MAIN,
            Owner::Others,
        ),
        (
            "<app::Order as serde_core::ser::Serialize>::serialize::<app::S>",
            MAIN,
            Owner::Others,
        ),
        (
            "<<app::Order as serde_core::de::Deserialize>::deserialize::__Visitor as \
             serde_core::de::Visitor>::visit_map::<serde_json::de::MapAccess<app::Read>>",
            MAIN,
            Owner::Others,
        ),
        (
            "app::load::<<app::Order as serde_core::de::Deserialize>::deserialize::__Visitor>",
            MAIN,
            Owner::User,
        ),
        (
            "<app::Visitor as serde_core::de::Visitor>::visit_map",
            MAIN,
            Owner::User,
        ),
        (
            "visit_map<serde_json::de::MapAccess<R>>",
            MAIN,
            Owner::Others,
        ),
        (
            "deserialize<&mut serde_json::de::Deserializer<R>>",
            MAIN,
            Owner::Others,
        ),
        ("visit_orders", MAIN, Owner::User),
        ("deserialize", MAIN, Owner::User),
        (
            "load<&mut serde_json::de::Deserializer<R>>",
            MAIN,
            Owner::User,
        ),
        // Of generated code, the crate decides.
        ("app::api::decode", generated, Owner::User),
        ("orders::api::decode", generated, Owner::Unknown),
        ("prost::encoding::decode", generated, Owner::Others),
        ("sqlite3_step", "sqlite3/sqlite3.c", Owner::Others),
    ] {
        assert_eq!(
            owner(&call(function, file)),
            expected,
            "{function} in {file}"
        );
    }
}

#[test]
fn without_a_file_the_crate_decides() {
    for (function, expected) in [
        ("app::main", Owner::User),
        ("app::main::{{closure}}", Owner::User),
        ("<app::Foo as tokio::Trait>::call", Owner::User),
        (
            "<&mut app::Foo<T> as futures_core::stream::Stream>::poll_next",
            Owner::User,
        ),
        ("<dyn app::Handler>::call", Owner::User),
        ("<T as app::Handler>::call", Owner::User),
        ("<alloc::string::String as app::Handler>::call", Owner::User),
        ("<[app::Foo] as app::Handler>::call", Owner::User),
        ("<dashmap::DashMap<K,V> as app::Handler>::call", Owner::User),
        (
            "<fn(app::Foo) -> bool as app::Handler>::call::{{closure}}",
            Owner::User,
        ),
        (
            "app::handler::<impl app::Handler for alloc::string::String>::call",
            Owner::User,
        ),
        ("core::ops::function::FnOnce::call_once", Owner::Others),
        (
            "core::ops::function::FnOnce::call_once{{vtable.shim}}",
            Owner::Others,
        ),
        ("core::ptr::drop_in_place<app::Foo>", Owner::Others),
        (
            "<core::option::Option<app::Foo>>::map::<(), app::main::{closure#0}>",
            Owner::Others,
        ),
        ("<[app::Foo]>::sort", Owner::Others),
        (
            "<[T] as alloc::slice::Concat<app::Foo>>::concat",
            Owner::Others,
        ),
        ("<u8 as core::fmt::Display>::fmt", Owner::Others),
        (
            "tokio::runtime::task::core::Core<app::main::{{closure}},S>::poll",
            Owner::Others,
        ),
        (
            "<alloc::boxed::Box<F> as core::future::future::Future>::poll",
            Owner::Others,
        ),
        (
            "<futures_util::future::Map<app::Foo, F> as core::future::Future>::poll",
            Owner::Others,
        ),
        (
            "<hyper::Request as tower_service::Service<R>>::call",
            Owner::Others,
        ),
        (
            "std::sys::backtrace::__rust_begin_short_backtrace",
            Owner::Others,
        ),
        // Other languages, and what the linker adds.
        ("sqlite3_step", Owner::Others),
        ("__GI___clock_nanosleep", Owner::Others),
        ("clock_nanosleep", Owner::Others),
        ("main", Owner::Others),
        ("_ZN7rocksdb2DB3GetERKNS_11ReadOptionsE", Owner::Others),
        ("", Owner::Others),
        ("::", Owner::Others),
        ("<", Owner::Others),
        ("<>::", Owner::Others),
        // It may be a crate of the workspace.
        ("orders::save", Owner::Unknown),
        ("app_core::save", Owner::Unknown),
        ("<orders::Foo as core::fmt::Display>::fmt", Owner::Unknown),
        ("<T as orders::Handler>::call", Owner::Unknown),
        ("_ZN3app4work17h0123456789abcdefE.llvm.1", Owner::Unknown),
        ("_RNvCs1_3app4work", Owner::Unknown),
    ] {
        assert_eq!(owner(&call(function, "")), expected, "{function}");
    }
    assert_eq!(owner(&unnamed(Some(MODULE))), Owner::Unknown);
    assert_eq!(owner(&unnamed(Some("/lib/libpq.so.5"))), Owner::Others);
    assert_eq!(owner(&unnamed(None)), Owner::Others);
    // Another library may have a crate of the same name.
    let mut elsewhere = call("app::main", "");
    elsewhere.module = Some("/lib/libother.so".to_owned());
    assert_eq!(owner(&elsewhere), Owner::Unknown);
}

#[test]
fn a_crate_that_is_named_like_a_known_one_is_unknown() {
    let none = own(&[]);
    let program = Program::new("/usr/bin/tower", &[], &none);
    let mut frame = call("tower::serve", "");
    frame.module = Some("/usr/bin/tower".to_owned());
    assert_eq!(program.owner(&frame), Owner::Unknown);
    frame.file = Some(MAIN.to_owned());
    assert_eq!(program.owner(&frame), Owner::User);
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
