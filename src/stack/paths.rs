//! The paths in the name of a function. Whose code they are is decided elsewhere.

/// Returns the paths that tell which crate a function is in: its own; or, of `<T as Trait>::f`, those of `T`
/// and `Trait`. There are none in the name of a C function, a generic parameter or a primitive type.
pub(crate) fn paths(function: &str) -> [Option<&str>; 2] {
    let Some(rest) = function.strip_prefix('<') else {
        return [path(function), None];
    };
    let (of, end) = brackets(rest);
    match of {
        Some(at) => [path(&rest[..at]), path(&rest[at + AS.len()..end])],
        None => [path(&rest[..end]), None],
    }
}

const AS: &str = " as ";

/// Returns where ` as ` stands in `T as Trait>::f`, and where the bracket ends.
fn brackets(rest: &str) -> (Option<usize>, usize) {
    let mut depth = 0_usize;
    let mut of = None;
    for (at, character) in rest.char_indices() {
        match character {
            '<' | '(' | '[' | '{' => depth += 1,
            // The arrow of a function's type.
            '>' if rest[..at].ends_with('-') => {}
            '>' if depth == 0 => return (of, at),
            '>' | ')' | ']' | '}' => depth = depth.saturating_sub(1),
            ' ' if depth == 0 && of.is_none() && rest[at..].starts_with(AS) => of = Some(at),
            _ => {}
        }
    }
    (of, rest.len())
}

/// Returns the path that a type or a function begins with: `a::B` for `&mut a::B<C>`.
fn path(text: &str) -> Option<&str> {
    const BEFORE: [&str; 6] = ["&", "*", "mut ", "const ", "dyn ", "impl "];
    let mut rest = text;
    while let Some(shorter) = BEFORE.iter().find_map(|it| rest.strip_prefix(it)) {
        rest = shorter;
    }
    let is_of_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let end = rest.find(|c| !is_of_path(c)).unwrap_or(rest.len());
    let path = &rest[..end];
    path.find("::").is_some_and(|at| at > 0).then_some(path)
}
