"""The rule is the one of closeorder: python -m unittest."""

import json
import pathlib
import unittest

import precedence

VECTORS = pathlib.Path(__file__).parents[2] / "testdata" / "events" / "precedence.json"


class Precedence(unittest.TestCase):
    def test_vectors(self) -> None:
        vectors = json.loads(VECTORS.read_text(encoding="utf-8"))
        self.assertGreater(len(vectors), 20, f"{VECTORS} is too short")
        for v in vectors:
            with self.subTest(v["name"]):
                current = precedence.read(v["current_id"], v["current"])
                after = precedence.read(v["next_id"], v["next"])
                self.assertEqual(precedence.supersedes(current, after), v["supersedes"])


if __name__ == "__main__":
    unittest.main()
