#!/usr/bin/env python3
"""Checks who imports whom in `src/`: no two files in a loop, and nobody from a layer below its own.

The layers are the lines of the first fenced block of CONTRIBUTING.md that has a `↓`, from the top to the
bottom. A name that a façade hands on counts as an import of the file that has it. Tests are free.
"""

import re
import sys
from pathlib import Path

PATH = re.compile(r"\b(?:crate|super|self)(?:::\w+)+")
USE = re.compile(r"\b(pub(?:\([^)]*\))?\s+)?use\s+([^;]+);")


def code_of(text):
    """The text without comments, strings, and what is only there for tests."""
    text = re.sub(r"//[^\n]*", "", text)
    text = re.sub(r'"(?:[^"\\]|\\.)*"', '""', text, flags=re.S)
    gate = re.compile(r"#\[cfg\((?:test|all\(test\b[^\]]*|doctest)\)\]")
    while match := gate.search(text):
        end = re.compile(r"[;{]").search(text, match.end())
        stop = end.end()
        depth = 1 if end.group() == "{" else 0
        while depth:
            depth += {"{": 1, "}": -1}.get(text[stop], 0)
            stop += 1
        text = text[: match.start()] + text[stop:]
    return text


def leaves(tree):
    """The paths of a `use`, each with the name that it gets."""
    tree = tree.strip()
    if "{" in tree:
        stem, rest = tree.split("{", 1)
        inner, depth, part = rest.rsplit("}", 1)[0], 0, ""
        for char in inner + ",":
            depth += {"{": 1, "}": -1}.get(char, 0)
            if char == "," and not depth:
                if part.strip():
                    for path, name in leaves(part):
                        path = [step for step in path if step != "self"]
                        yield stem.strip().strip(":").split("::") + path, name or stem.strip(": ").split("::")[-1]
                part = ""
            else:
                part += char
        return
    path, _, name = tree.partition(" as ")
    path = path.strip().split("::")
    yield path, name.strip() or (path[-1] if path[-1] != "self" else None)


class House:
    def __init__(self, root):
        self.files, self.names, self.paths = {}, {}, {}
        for file in sorted((root / "src").rglob("*.rs")):
            module = file.relative_to(root / "src").with_suffix("").parts
            if "tests" not in module:
                self.files[() if module == ("lib",) else module] = file
        for module, file in self.files.items():
            code = code_of(file.read_text())
            uses = [(use[0], leaf) for use in USE.findall(code) for leaf in leaves(use[1])]
            body = re.sub(r"\bpub\([^)]*\)", "", USE.sub("", code))
            self.names[module] = {name: self.absolute(module, path) for _, (path, name) in uses}
            # What a file only hands on it does not use.
            self.paths[module] = [
                self.absolute(module, path)
                for public, (path, name) in uses
                if not public or re.search(rf"\b{name}\b", body)
            ] + [self.absolute(module, path.split("::")) for path in PATH.findall(body)]

    def absolute(self, module, path):
        """From the root of the crate; `None` if it is another crate's."""
        if path[0] == "crate":
            return tuple(path[1:])
        if path[0] == "self":
            return module + tuple(path[1:])
        if path[0] != "super":
            return module + tuple(path) if module + (path[0],) in self.files else None
        while path and path[0] == "super":
            module, path = module[:-1], path[1:]
        return module + tuple(path)

    def owner(self, path, seen=()):
        """The file that has what the path names."""
        module = ()
        for position, step in enumerate(path):
            if module + (step,) in self.files:
                module += (step,)
                continue
            target = self.names[module].get(step)
            if target and target != path and target not in seen:
                return self.owner(target + path[position + 1 :], (*seen, path))
            break
        return module

    def imports(self, module):
        owners = {self.owner(path) for path in self.paths[module] if path}
        return owners - {module, ()}


def loops(edges):
    """Groups of files of which each imports each, if only by way of others (Tarjan)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in edges[node]:
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in edges:
        if node not in index:
            visit(node)
    return found


def layers(root):
    for block in re.findall(r"```text\n(.*?)```", (root / "CONTRIBUTING.md").read_text(), re.S):
        if "↓" in block:
            lines = [re.findall(r"\b[a-z_]+\b", line) for line in block.splitlines()]
            return {name: level for level, names in enumerate(lines) for name in names}
    return {}


def faults(root):
    house, level = House(root), layers(root)
    edges = {module: house.imports(module) for module in house.files if module != ()}
    name = "::".join
    for group in loops(edges):
        yield "a loop: " + ", ".join(map(name, group))
    for module in sorted({(module[0],) for module in edges}):
        if module[0] not in level:
            yield f"{module[0]} is not in the drawing of CONTRIBUTING.md"
    for module, others in edges.items():
        for other in sorted(others):
            if level.get(other[0], 0) > level.get(module[0], len(level)):
                yield f"{name(module)} imports {name(other)}, which is below it"


if __name__ == "__main__":
    found = list(faults(Path(__file__).parent.parent))
    print(*found, sep="\n", end="\n" if found else "")
    sys.exit(bool(found))
