//! From addresses to functions, files and lines.

use std::ptr;

use super::unwind::Unwinder;
use crate::stack::frame::Frame;

/// The calls at the given addresses; more than one for each where the compiler has merged some.
pub(super) fn frames(unwinder: &Unwinder, addresses: &[u64]) -> Vec<Frame> {
    let mut frames = Vec::with_capacity(addresses.len());
    for &address in addresses {
        let module = unwinder.module_of(address);
        let bare = Frame {
            function: None,
            file: None,
            line: None,
            module: module.map(|module| module.name.clone()),
            offset: address.wrapping_sub(module.map_or(0, |module| module.bias)),
            inlined: false,
        };
        let first = frames.len();
        // It takes a return address, and looks up what is just before it.
        let after = usize::try_from(address).unwrap_or(0).wrapping_add(1);
        backtrace::resolve(ptr::without_provenance_mut(after), |symbol| {
            frames.push(Frame {
                function: symbol.name().map(|name| format!("{name:#}")),
                file: symbol.filename().map(|file| file.display().to_string()),
                line: symbol.lineno(),
                inlined: true,
                ..bare.clone()
            });
        });
        if frames.len() == first {
            frames.push(bare);
        } else if let Some(outermost) = frames.last_mut() {
            outermost.inlined = false;
        }
    }
    frames
}

/// Gives back the debug information that was read.
pub(super) fn release() {
    backtrace::clear_symbol_cache();
}
