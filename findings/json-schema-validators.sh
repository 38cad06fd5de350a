#!/usr/bin/env bash
# Expected: one valid schema of draft 2020-12 and one value have one answer, whatever the validator.
# Happens: patterns are those of the validator's language, and the draft leaves formats open. In Python a $ also matches in front
#   of a line break at the end, so that a pattern of digits takes "1900000109\n", and \d takes Arabic digits; \p{L} breaks it.
#   Go's santhosh-tekuri refuses the whole schema for \u4e00 in a pattern. A format of date-time is not looked at by default in
#   Python and Go; in Python not even with a FormatChecker, unless rfc3339-validator is installed beside it, and nothing says
#   so. ajv refuses the whole schema for it, unless ajv-formats is there, and that takes a blank for the T where the others do not.
# Versions: jsonschema 4.26.0 (PyPI) with and without its extra format, ajv 8.20.0 with and without ajv-formats 3.0.1 (npm),
#   github.com/santhosh-tekuri/jsonschema/v6 v6.0.3 (Go).
# Seen, of a line break at the end, Arabic digits as \d, \p{L}, \u4e00, "tomorrow" and a blank for T as date-time (python-bare
#   has a FormatChecker and not the extra):
#   python-bare    takes    takes    breaks   takes    takes    takes
#   python         takes    takes    breaks   takes    takes    takes
#   python+formats takes    takes    breaks   takes    refuses  refuses
#   ajv            refuses  refuses  takes    takes    breaks   breaks
#   ajv+formats    refuses  refuses  takes    takes    refuses  takes
#   go             refuses  refuses  takes    breaks   takes    takes
#   go+formats     refuses  refuses  takes    breaks   refuses  refuses
# Why it matters: a request that a shop's own validator lets pass is refused by the reader, or the schema cannot be loaded at all.
#   Write patterns of plain character classes, name line breaks under not, put other characters into the schema's JSON as
#   escapes of JSON and not of the pattern, and write times as a pattern. events/schema/request.schema.json does.
# Sources: json-schema.org/draft/2020-12/json-schema-core, section 6.4 (regular expressions, what to keep to), and
#   json-schema-validation, section 7.2.1 (format is an annotation by default); docs.python.org/3/library/re.html, "$";
#   github.com/python-jsonschema/jsonschema/issues/576 and 607; github.com/ajv-validator/ajv-cli/issues/194.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv bare
bare/bin/pip install --quiet --disable-pip-version-check jsonschema==4.26.0
python3 -m venv py
py/bin/pip install --quiet --disable-pip-version-check 'jsonschema[format]==4.26.0'
npm install --silent --no-audit --no-fund --ignore-scripts ajv@8.20.0 ajv-formats@3.0.1

cat >cases.json <<'EOF'
[{"name": "line break at the end", "schema": {"type": "string", "pattern": "^[0-9]{1,32}$"}, "value": "1900000109\n"},
 {"name": "Arabic digits as \\d", "schema": {"type": "string", "pattern": "^\\d+$"}, "value": "\u0661\u0669"},
 {"name": "\\p{L}", "schema": {"type": "string", "pattern": "^\\p{L}+$"}, "value": "\u8ba2\u5355"},
 {"name": "\\u4e00", "schema": {"type": "string", "pattern": "^[\\u4e00-\\u9fff]+$"}, "value": "\u8ba2\u5355"},
 {"name": "date-time: tomorrow", "schema": {"type": "string", "format": "date-time"}, "value": "tomorrow"},
 {"name": "date-time: blank for T", "schema": {"type": "string", "format": "date-time"}, "value": "2026-11-27 16:00:00Z"}]
EOF
cat >validate.py <<'EOF'
import json, sys
from jsonschema import Draft202012Validator, FormatChecker

for name, options in json.loads(sys.argv[1]).items():
    for case in json.load(open("cases.json")):
        try:
            checker = {"format_checker": FormatChecker()} if options else {}
            answer = "takes" if Draft202012Validator(case["schema"], **checker).is_valid(case["value"]) else "refuses"
        except Exception:
            answer = "breaks"
        print(name, case["name"], answer, sep="|")
EOF
cat >validate.js <<'EOF'
const Ajv = require("ajv/dist/2020").default;
const addFormats = require("ajv-formats").default;
for (const name of ["ajv", "ajv+formats"]) {
  for (const c of require("./cases.json")) {
    let answer;
    try {
      const ajv = new Ajv();
      if (name !== "ajv") addFormats(ajv);
      answer = ajv.compile(c.schema)(c.value) ? "takes" : "refuses";
    } catch (e) {
      answer = "breaks";
    }
    console.log([name, c.name, answer].join("|"));
  }
}
EOF
mkdir go
cat >go/main.go <<'EOF'
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

func main() {
	text, err := os.ReadFile("../cases.json")
	if err != nil {
		panic(err)
	}
	var cases []struct {
		Name          string
		Schema, Value any
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		panic(err)
	}
	for _, name := range []string{"go", "go+formats"} {
		for _, c := range cases {
			compiler := jsonschema.NewCompiler()
			if name != "go" {
				compiler.AssertFormat()
			}
			answer := "takes"
			if err := compiler.AddResource("schema.json", c.Schema); err != nil {
				panic(err)
			}
			schema, err := compiler.Compile("schema.json")
			switch {
			case err != nil:
				answer = "breaks"
			case schema.Validate(c.Value) != nil:
				answer = "refuses"
			}
			fmt.Println(name + "|" + c.Name + "|" + answer)
		}
	}
}
EOF
(cd go && go mod init x && go get github.com/santhosh-tekuri/jsonschema/v6@v6.0.3) >/dev/null 2>&1
{
	bare/bin/python validate.py '{"python-bare": true}'
	py/bin/python validate.py '{"python": false, "python+formats": true}'
	node validate.js
	(cd go && go run .)
} | awk -F'|' '{
		if (!($1 in row)) { names[++n] = $1; row[$1] = sprintf("%-15s", $1) }
		row[$1] = row[$1] sprintf("%-9s", $3)
	} END { for (i = 1; i <= n; i++) { sub(/ +$/, "", row[names[i]]); print row[names[i]] } }' >seen
cat >want <<'EOF'
python-bare    takes    takes    breaks   takes    takes    takes
python         takes    takes    breaks   takes    takes    takes
python+formats takes    takes    breaks   takes    refuses  refuses
ajv            refuses  refuses  takes    takes    breaks   breaks
ajv+formats    refuses  refuses  takes    takes    refuses  takes
go             refuses  refuses  takes    breaks   takes    takes
go+formats     refuses  refuses  takes    breaks   refuses  refuses
EOF
echo "versions: jsonschema 4.26.0 (PyPI), ajv 8.20.0 and ajv-formats 3.0.1 (npm), santhosh-tekuri/jsonschema v6.0.3 (Go)"
echo "expected: each column has one word"
echo "columns:  line break at the end, Arabic digits as \\d, \\p{L}, \\u4e00, date-time: tomorrow, date-time: blank for T"
echo "seen:"
cat seen
diff want seen >/dev/null || { echo "not what was written down: the behaviour has changed"; exit 1; }
