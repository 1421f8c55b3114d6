//! Whose code a call is.

use super::*;

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
