package yamlmap

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/closeorder/closeorder/internal/slips"
	"go.yaml.in/yaml/v3"
)

// yamlLine is all that is kept of a YAML error, beside whether it is about an
// anchor: its text may quote the document, which may hold a password.
var yamlLine = regexp.MustCompile(`line (\d+)`)

// mostTried bounds what is read in search of a mistake, in bytes: some
// documents are read slowly, 3 MB a second.
const mostTried = 2 << 20

// whereBroken names the lines to look at, and what is often the cause. A
// parser complains where it cannot go on, or where the mapping began that it
// was in, and some complaints count from 0. So the mistake is searched: the
// last beginning of the document that can be read ends at the mistake or one
// line before it.
func whereBroken(data []byte, err error) string {
	lines := bytes.SplitAfter(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
	if !utf8.Valid(data) && !bytes.HasPrefix(data, []byte("\xff\xfe")) && !bytes.HasPrefix(data, []byte("\xfe\xff")) {
		bad := slices.IndexFunc(lines, func(line []byte) bool { return !utf8.Valid(line) })
		return fmt.Sprintf("line %d is not UTF-8; save the file in that encoding", bad+1)
	}
	said := 0 // by the parser
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		said, _ = strconv.Atoi(m[1])
	}
	from, to := min(said, len(lines)), min(said+1, len(lines))
	switch {
	case len(lines)*len(data)/2 <= mostTried:
		good := len(lines) - 1
		for good > 0 && !isYAML(bytes.Join(lines[:good], nil)) {
			good--
		}
		from, to = max(good, 1), min(good+1, len(lines))
		// What spans lines, such as a bracket, cannot be read before it ends: the
		// mistake may be further down.
		if said > to {
			to = min(said+1, len(lines))
		}
	case said == 0:
		return "it has a mistake"
	}
	where := fmt.Sprintf("look at lines %d to %d", from, to)
	if from == to {
		where = fmt.Sprintf("look at line %d", from)
	}
	if why := cause(lines, from, to); why != "" {
		return where + ": " + why
	}
	if strings.Contains(err.Error(), "unknown anchor") {
		return where + ": an alias, *name, has no anchor, &name (unknown anchor (not shown))"
	}
	return where
}

// cause looks for what people write where YAML wants something else.
func cause(lines [][]byte, from, to int) string {
	for i := from - 1; i < to && i < len(lines); i++ {
		line := string(bytes.TrimRight(lines[i], "\r\n"))
		if strings.HasPrefix(strings.TrimLeft(line, " "), "\t") {
			return fmt.Sprintf("line %d begins with a tab, indent it with blanks", i+1)
		}
		if why := slips.Wide(strings.SplitN(line, "#", 2)[0]); why != "" { // a comment may have what it likes
			return fmt.Sprintf("see line %d, %s", i+1, why)
		}
	}
	return ""
}

func isYAML(data []byte) bool {
	err := yaml.NewDecoder(bytes.NewReader(data)).Decode(new(yaml.Node))
	return err == nil || errors.Is(err, io.EOF)
}
