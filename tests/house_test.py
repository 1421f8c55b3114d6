#!/usr/bin/env python3
"""Shows that house.py finds what it is for, on small trees that are broken on purpose."""

import tempfile
import unittest
from pathlib import Path

from house import faults

DRAWING = "```text\nlow\n ↓\nmid\n ↓\nhigh\n```\n"
SOUND = {
    "lib.rs": "mod low;\nmod mid;\nmod high;\npub use high::High;\n",
    "low.rs": "pub(crate) struct Low;\n",
    "mid.rs": "mod part;\npub(crate) use part::Part;\n",
    "mid/part.rs": "use crate::low::Low;\npub(crate) struct Part(Low);\n",
    "high.rs": "use crate::mid::Part;\npub struct High(Part);\n",
}


class HouseTest(unittest.TestCase):
    def faults(self, **changed):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            (root / "CONTRIBUTING.md").write_text(DRAWING)
            files = SOUND | {name.replace("__", "/") + ".rs": text for name, text in changed.items()}
            for name, text in files.items():
                file = root / "src" / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
            return list(faults(root))

    def test_a_sound_house_has_no_faults(self):
        self.assertEqual(self.faults(), [])

    def test_an_import_from_below_is_a_fault(self):
        for text in ("use crate::high::High;\n", "fn f() { crate::high::f() }\n"):
            self.assertIn("low imports high, which is below it", self.faults(low=text))

    def test_a_name_that_is_handed_on_counts_as_its_owners(self):
        found = self.faults(low="use crate::mid::{self as middle, Part};\n")
        self.assertIn("a loop: low, mid::part", found)
        self.assertIn("low imports mid::part, which is below it", found)

    def test_files_that_import_each_other_are_a_loop(self):
        mid = "mod part;\npub(crate) use part::Part;\npub(crate) struct Mid(Part);\n"
        self.assertEqual(self.faults(mid=mid), [])
        back = "pub(crate) struct Part(Option<Box<super::Mid>>);\n"
        self.assertEqual(self.faults(mid=mid, mid__part=back), ["a loop: mid, mid::part"])

    def test_tests_comments_and_strings_are_free(self):
        free = (
            '// use crate::high::High;\nconst A: &str = "crate::high::f";\n'
            "#[cfg(test)]\nmod tests {\n    use crate::high::High;\n}\n"
        )
        self.assertEqual(self.faults(low=SOUND["low.rs"] + free), [])

    def test_a_module_that_is_not_drawn_is_a_fault(self):
        self.assertEqual(self.faults(attic="struct A;\n"), ["attic is not in the drawing of CONTRIBUTING.md"])


if __name__ == "__main__":
    unittest.main()
