#!/usr/bin/env python3
"""Makes what the fuzz targets begin with, in fuzz/corpus: small programs as compilers write them, and ordinary text. In
fuzz/corpus/hostile are programs that ask for as much memory, time or stack as they can; they are too slow to begin
with. Needs gcc and binutils; what they cannot do is left out.
"""

import re
import shutil
import struct
import subprocess
import tempfile
import zlib
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"

# The largest input that libFuzzer is allowed to make.
LARGEST = 128 << 10

SOURCE = """
#define OWN static __attribute__((noinline))
static inline __attribute__((always_inline)) int inner(int x) { return x * x + 7; }
OWN int middle(int x, void (*hook)(int)) { hook(x); return inner(x) + inner(x + 1); }
OWN int on_frame(int x, void (*hook)(int)) {
    char room[x]; hook(x); room[x / 2] = 1; return middle(room[x / 3], hook);
}
int outer(int x, void (*hook)(int)) { return on_frame(x, hook) - middle(x, hook); }
"""

PROGRAMS = {
    "dwarf5": "-O1 -gdwarf-5",
    "dwarf4": "-O1 -gdwarf-4",
    "pointers": "-O2 -g1 -fno-omit-frame-pointer",
    "zlib": "-O1 -g -gz=zlib",
    "split": "-O1 -gdwarf-5 -gsplit-dwarf",
    "stripped": "-O1 -s",
}


def write(target, name, *parts):
    content = b"".join(parts)
    if len(content) <= LARGEST:
        (CORPUS / target / name).write_bytes(content)


def sized(program, further):
    """A program, and what follows it in an input."""
    return program + further + struct.pack("<H", len(further))


def look_ups(addresses, package=b"", unit=b"", torn_after=255, how=0, at=0):
    addresses = (list(addresses) * 6)[:6]
    head = struct.pack("<HHBBH", len(package), len(unit), torn_after, how, at)
    return head + struct.pack("<6I", *addresses) + package + unit


def stack(pc, words, sp_kind=2, fp=(1, 64), fp_known=True):
    """Registers and words, each a kind and a number."""
    sp = bytes([sp_kind]) + struct.pack("<I" if sp_kind == 1 else "<H", 64)
    registers = [(0, pc), fp, (0, pc)]
    return sp + b"".join(map(word, registers)) + bytes([not fp_known]) + b"".join(map(word, words))


def word(kind_and_number):
    return struct.pack("<BI", *kind_and_number)


def run(*command, folder=None):
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def compiled(name, flags):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "unit.c").write_text(SOURCE)
        common = ["-fPIC", "-fno-stack-protector", f"-ffile-prefix-map={folder}=."]
        try:
            run("gcc", *common, *flags.split(), "-c", "unit.c", "-o", "unit.o", folder=folder)
            link = ["-shared", "-nostdlib", "-Wl,-z,noseparate-code", "-Wl,--build-id=none"]
            run("gcc", *flags.split(), *link, "unit.o", "-o", "program", folder=folder)
        except subprocess.CalledProcessError as refused:
            print(f"{name} is left out: {refused.stderr.splitlines()[-1]}")
            return
        if (folder / "unit.dwo").exists():
            run("dwp", "-o", "program.dwp", "unit.dwo", folder=folder)
        program, package, unit = (
            (folder / file).read_bytes() if (folder / file).exists() else b""
            for file in ("program", "program.dwp", "unit.dwo")
        )
        code = run("objdump", "-d", "program", folder=folder)
    calls = [int(at, 16) for at in re.findall(r"\tcall.*\n +([0-9a-f]+):", code)]
    functions = [int(at, 16) for at in re.findall(r"^([0-9a-f]+) <", code, re.M)]
    seen = [at - 1 for at in calls] + functions
    write("debug_information", name, sized(program, look_ups(seen)))
    write("debug_information", f"{name}-torn", sized(program, look_ups(seen, b"", b"", 1, 0, 900)))
    if package:
        write("debug_information", f"{name}-package", sized(program, look_ups(seen, package)))
        write("debug_information", f"{name}-unit", sized(program, look_ups(seen, b"", unit)))
    frames = [(0, calls[index % len(calls)]) if index % 3 == 0 else (1, 8 * index + 64) for index in range(60)]
    write("walk", name, sized(program, stack(calls[0], frames)))
    write("walk", f"{name}-in-a-call", sized(program, stack(calls[-1], frames, fp_known=False)))
    write("walk", f"{name}-at-the-end", sized(program, stack(calls[0], frames, sp_kind=0)))


def elf(sections, code=0x10000):
    """A program with this much code, and these sections: each its content, and whether to pack it; or where it says
    that it is, and how large.
    """
    names, headers, content = b"\0", [bytes(64)], b""
    at = 64 + 56
    for name, (body, packed) in {**sections, ".shstrtab": (None, False)}.items():
        name_at, names = len(names), names + name.encode() + b"\0"
        if body is None:
            body = names
        flags = 0 if packed is False else 0x800
        if packed:
            body = struct.pack("<IIQQ", 1, 0, len(body), 1) + zlib.compress(body, 9)
        kind = {".symtab": 2, ".strtab": 3, ".shstrtab": 3}.get(name, 1)
        link = list(sections).index(".strtab") + 1 if name == ".symtab" else 0
        headers.append(struct.pack("<IIQQQQIIQQ", name_at, kind, flags, 0, at, len(body), link, 0, 1, 0))
        content, at = content + body, at + len(body)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, code, code, 4096)
    head = b"\x7fELF\2\1\1" + bytes(9) + struct.pack(
        "<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, at, 0, 64, 56, 1, 64, len(headers), len(headers) - 1
    )
    return head + segment + content + b"".join(headers)


def abbreviation(code, tag, has_children, attributes):
    pairs = b"".join(leb(name) + leb(form) + (leb(value[0]) if value else b"") for name, form, *value in attributes)
    return leb(code) + leb(tag) + bytes([has_children]) + pairs + b"\0\0"


def leb(number):
    low, high = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + leb(high) if high else bytes([low])


def unit(body, abbreviations=0):
    head = struct.pack("<HBBI", 5, 1, 8, abbreviations)
    return struct.pack("<I", len(head) + len(body)) + head + body


COMPILE_UNIT, SUBPROGRAM, INLINED = 0x11, 0x2E, 0x1D
LOW, HIGH, LINES = 0x11, 0x12, 0x10
ADDRESS, DATA4, OFFSET, CONSTANT, LINE_STRING = 0x01, 0x06, 0x17, 0x21, 0x1F


def of_unit(code, entries, lines=False):
    """A program with one unit, which covers all of the code."""
    attributes = [(LOW, ADDRESS), (HIGH, DATA4)] + ([(LINES, OFFSET)] if lines else [])
    table = abbreviation(1, COMPILE_UNIT, 1, attributes) + code + b"\0"
    root = b"\1" + struct.pack("<QI", 0, 0x10000) + (struct.pack("<I", 0) if lines else b"")
    return {
        ".debug_abbrev": (table, False),
        ".debug_info": (unit(root + entries + b"\0"), True),
    }


def line_program(files, body):
    """The table of lines of a unit."""
    header = struct.pack("<BBBbBB", 1, 1, 1, -5, 14, 13) + bytes([0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1]) + files
    rest = struct.pack("<HBBI", 5, 8, 0, len(header)) + header + body
    return struct.pack("<I", len(rest)) + rest


def paths(files):
    """No folders, and so many files with the same path."""
    form = b"\1" + leb(1) + leb(LINE_STRING)
    return form + leb(0) + form + leb(files) + bytes(4 * files)


def hostile():
    """Each asks for as much as it can of one thing."""
    function = abbreviation(2, SUBPROGRAM, 1, [(LOW, ADDRESS), (HIGH, DATA4)])
    inlined = abbreviation(3, INLINED, 1, [])
    start = b"\2" + struct.pack("<QI", 0, 0x10000)
    # Stack: calls inlined into each other.
    for depth in (100, 4_000_000):
        yield f"nested-{depth}", of_unit(function + inlined, start + b"\3" * depth + b"\0" * (depth + 1))

    # Memory: functions of one byte.
    small = abbreviation(2, SUBPROGRAM, 0, [(LOW, ADDRESS), (HIGH, CONSTANT, 1)])
    yield "functions", of_unit(small, (b"\2" + struct.pack("<Q", 16)) * 4_000_000)

    # Memory: a row of the table of lines for each byte.
    rows = b"\0\x09\2" + struct.pack("<Q", 0) + b"\x20" * 8_000_000 + b"\0\1\1"
    yield "rows", {
        **of_unit(b"", b"", lines=True),
        ".debug_line": (line_program(paths(0), rows), True),
    }

    # Memory: one long path for many files.
    row = b"\0\x09\2" + struct.pack("<Q", 0) + b"\x20\x20\2\x80\x80\4\0\1\1"
    yield "paths", {
        **of_unit(b"", b"", lines=True),
        ".debug_line": (line_program(paths(10_000), row), True),
        ".debug_line_str": (b"a" * (1 << 20) + b"\0", True),
    }

    # Memory: units that share abbreviations, of which each pair reads the rest of the table.
    each = [abbreviation(code, SUBPROGRAM, 0, [(LOW, ADDRESS)]) for code in range(128, 16_000)]
    units = b"".join(unit(b"\0", len(each[0]) * (number // 2)) for number in range(2_000))
    yield "abbreviations", {".debug_abbrev": (b"".join(each) + b"\0", True), ".debug_info": (units, True)}

    # Time and memory: the name of a function.
    symbol = struct.pack("<IBBHQQ", 1, 2, 0, 1, 0, 0x10000)
    yield "symbol", {".strtab": (b"\0" + b"n" * 90_000, False), ".symtab": (symbol, False)}

    # What Zstandard packs, where it is to be had.
    if shutil.which("zstd"):
        sections = of_unit(function, start + b"\0" + b"\2" * 10_000)
        body, _ = sections[".debug_info"]
        packed = subprocess.run(["zstd", "-19", "-c"], input=body, check=True, capture_output=True).stdout
        yield "zstd", {**sections, ".debug_info": (struct.pack("<IIQQ", 2, 0, len(body), 1) + packed, None)}


def main():
    for target in ("debug_information", "hostile", "walk", "http", "proc_lines"):
        (CORPUS / target).mkdir(parents=True, exist_ok=True)
    for name, flags in PROGRAMS.items():
        compiled(name, flags)
    for name, sections in hostile():
        write("hostile", name, sized(elf(sections), look_ups([16, 0, 0x8000])))
    requests = [
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET /app.js HTTP/1.1\r\nHost: [::1]:1\r\n\r\n",
        "GET /api/history?range=600&since=1&monitor=0 HTTP/1.1\r\nhost:127.0.0.1\r\nOrigin: http://127.0.0.1\r\n\r\n",
        "GET /picture.svg?range=60 HTTP/1.1\r\nHost: page.internal\r\nSec-Fetch-Site: cross-site\r\n\r\n",
        "HEAD /healthz HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
        "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST /api/now HTTP/1.1\r\nHost: evil.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "GET http://localhost/api/stalls HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\r\n",
        "GET /api/trace?monitor=0&culprit=00 HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\n\r\n",
        "GET /api/folded?monitor=0 HTTP/1.1\r\nHost: localhost\r\n\r\nGET /api/culprits HTTP/1.1\r\nHost: a\r\n\r\n",
    ]
    for number, request in enumerate(requests):
        write("http", f"request-{number}", bytes([255 if number % 2 else 3]), request.encode())
    lines = [
        "17 (a name) R (of one)) S 1 17 17\n",
        "230 0x1 0x0 0x7ffd 0x7ffe 0x0 0xffffffffffffffff 0x7ffd0010 0x7f1a0020\n",
        "-1 0x7ffd0010 0x7f1a0020\n",
        "some avg10=73.22 avg60=72.48 avg300=71.32 total=16617871840\nfull avg10=0.00 total=7\n",
        "SigPnd:\t0000000000000000\nSigBlk:\t0000000000004000\nvoluntary_ctxt_switches:\t9\n"
        "nonvoluntary_ctxt_switches:\t2\n",
        "7f00-7fff r-xp 00002000 fe:00 247030                     /a path/with blanks\n",
        "9:memory:/m\n4:cpu,cpuacct:/c\n0::/\n",
        "nr_periods 31\nnr_throttled 2\nthrottled_time 7000000\n",
    ]
    for number, line in enumerate(lines):
        write("proc_lines", f"line-{number}", bytes(range(64)), b"\1\0\0\0S\0\0\0", line.encode())


if __name__ == "__main__":
    main()
