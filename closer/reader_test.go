package closer

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestReadFields(t *testing.T) {
	const none = "\x00"
	for sentence, tt := range map[string]struct {
		document string
		want     string // of the field a; none: it is refused
		err      string // the whole of it
	}{
		"text":                                {"<xml><a>1</a></xml>", "1", ""},
		"CDATA":                               {"<xml><a><![CDATA[1<&]]></a></xml>", "1<&", ""},
		"CDATA and text, in pieces":           {"<xml><a>1<![CDATA[2]]>3<![CDATA[]]><![CDATA[4]]></a></xml>", "1234", ""},
		"an empty CDATA":                      {"<xml><a><![CDATA[]]></a></xml>", "", ""},
		"brackets in CDATA":                   {"<xml><a><![CDATA[]]]]></a></xml>", "]]", ""},
		"the end of a CDATA in two of them":   {"<xml><a><![CDATA[x]]]]><![CDATA[>y]]></a></xml>", "x]]>y", ""},
		"brackets in text":                    {"<xml><a>[1]] ></a></xml>", "[1]] >", ""},
		"the five names":                      {"<xml><a>&lt;&gt;&amp;&apos;&quot;</a></xml>", `<>&'"`, ""},
		"numbers of characters":               {"<xml><a>&#65;&#x42;&#x0000000000000000000000000000000000000000000000000000000000000000000000000043;&#x1F600;</a></xml>", "ABC😀", ""},
		"a reference is read once":            {"<xml><a>&amp;lt;</a></xml>", "&lt;", ""},
		"none in CDATA":                       {"<xml><a><![CDATA[&lt;]]></a></xml>", "&lt;", ""},
		"half of a pair stands for no other":  {"<xml><a>&#xD83D;</a></xml>", "\uFFFD", ""},
		"an empty field":                      {"<xml><a/></xml>", "", ""},
		"an empty field with a blank":         {"<xml><a /></xml>", "", ""},
		"blanks are kept":                     {"<xml><a> 1\t\n </a></xml>", " 1\t\n ", ""},
		"blanks at the end of tags":           {"<xml\n><a \t>1</a\n></xml\r\n>\r\n", "1", ""},
		"CR LF is LF":                         {"<xml><a>1\r\n2</a></xml>", "1\n2", ""},
		"CR is LF":                            {"<xml><a>1\r2\r</a></xml>", "1\n2\n", ""},
		"in CDATA as well":                    {"<xml><a><![CDATA[1\r\n2\r\r\n]]></a></xml>", "1\n2\n\n", ""},
		"CR before a reference, a CDATA":      {"<xml><a>\r&#10;\r<![CDATA[\n]]></a></xml>", "\n\n\n\n", ""},
		"a CR as a reference stays":           {"<xml><a>1&#13;\n</a></xml>", "1\r\n", ""},
		"a byte order mark":                   {"\uFEFF<xml><a>1</a></xml>", "1", ""},
		"a declaration":                       {"<?xml version=\"1.0\" encoding='UTF-8' standalone=\"yes\" ?>\n<xml><a>1</a></xml>", "1", ""},
		"a declaration without a version":     {`<?xml encoding = "utf-8"?><xml><a>1</a></xml>`, "1", ""},
		"a mark before a declaration":         {"\uFEFF<?xml version='1.0'?><xml><a>1</a></xml>", "1", ""},
		"the root's name in a field":          {"<xml><xml>2</xml><a>1</a></xml>", "1", ""},
		"characters of three and four bytes":  {"<xml><a>订单，\uE000\uFFFD😀</a></xml>", "订单，\uE000\uFFFD😀", ""},
		"names with digits, dots and strokes": {"<xml><_a.b-1>2</_a.b-1><a>1</a></xml>", "1", ""},

		"nothing":                         {"", none, "is empty"},
		"blanks":                          {"\uFEFF \r\n", none, "is empty"},
		"a declaration alone":             {"<?xml version='1.0'?>\n", none, "has no root element <xml>"},
		"too much":                        {"<xml>" + strings.Repeat(" ", MaxDocument) + "</xml>", none, "is longer than 65536 bytes"},
		"no UTF-8":                        {"<xml><a>\xff</a></xml>", none, "is not valid UTF-8"},
		"two marks":                       {"\uFEFF\uFEFF<xml/>", none, "has text outside of a field at line 1, column 1"},
		"text before the root":            {"x<xml/>", none, "has text outside of a field at line 1, column 1"},
		"text between fields":             {"<xml>\n<a>1</a>x</xml>", none, "has text outside of a field at line 2, column 9"},
		"text after the end":              {"<xml/>\n x", none, "has text outside of a field at line 2, column 2"},
		"a blank CDATA between fields":    {"<xml><![CDATA[ ]]></xml>", none, "has text outside of a field at line 1, column 6"},
		"a reference between fields":      {"<xml>&#32;</xml>", none, "has text outside of a field at line 1, column 6"},
		"another root":                    {"<html/>", none, `has the root element "html", not "xml", at line 1, column 1`},
		"two roots":                       {"<xml/><xml/>", none, `has another element "xml" after its end at line 1, column 7`},
		"an end after the end":            {"<xml></xml></xml>", none, "is not XML: there is no name of an element where one must be at line 1, column 13"},
		"a name space":                    {"<xml><b:a>1</b:a></xml>", none, "has an element with a name space at line 1, column 7"},
		"a name of other letters":         {"<xml><单>1</单></xml>", none, "has an element with a name that is not of letters, digits and _.- of ASCII at line 1, column 7"},
		"a name that begins with a digit": {"<xml><1a>1</1a></xml>", none, "is not XML: there is no name of an element where one must be at line 1, column 7"},
		"attributes":                      {`<xml><a b="c">1</a></xml>`, none, `has attributes on the element "a" at line 1, column 6`},
		"attributes of the root":          {`<xml b="c"/>`, none, `has attributes on the element "xml" at line 1, column 1`},
		"a field in a field":              {"<xml><a>1<b>2</b></a></xml>", none, `has the element "b" inside of "a" at line 1, column 10`},
		"a field twice":                   {"<xml><a>1</a>\n<a/></xml>", none, `has the element "a" a second time at line 2, column 1`},
		"a signature as a name is hidden": {"<xml><a><a0123456789abcdef0/></a></xml>", none, `has the element "******" inside of "a" at line 1, column 9`},
		"a comment":                       {"<xml><!-- --><a>1</a></xml>", none, "has a comment at line 1, column 6"},
		"a comment in a value":            {"<xml><a>1<!-- -->2</a></xml>", none, "has a comment at line 1, column 10"},
		"a comment after the end":         {"<xml/><!-- -->", none, "has a comment at line 1, column 7"},
		"a processing instruction":        {"<xml><a>1<?p ?></a></xml>", none, "has a processing instruction at line 1, column 10"},
		"a style sheet":                   {"<?xml-stylesheet ?><xml/>", none, "has a processing instruction at line 1, column 1"},
		"a late declaration":              {" <?xml version='1.0'?><xml/>", none, "has a processing instruction at line 1, column 2"},
		"a DOCTYPE":                       {"<!DOCTYPE xml><xml/>", none, "has a directive, such as a DOCTYPE, at line 1, column 1"},
		"another version":                 {"<?xml version='1.1'?><xml/>", none, `has the version "1.1", not 1.0, at line 1, column 1`},
		"another encoding":                {"<?xml version='1.0' encoding = 'gbk'?><xml/>", none, "declares another encoding than utf-8"},
		"two encodings":                   {"<?xml encoding='utf-8' encoding='utf-8'?><xml/>", none, "has an XML declaration that is none at line 1, column 1"},
		"a declaration of other things":   {"<?xml version='1.0' x='y'?><xml/>", none, "has an XML declaration that is none at line 1, column 1"},
		"a declaration without a blank":   {"<?xml version='1.0'encoding='utf-8'?><xml/>", none, "has an XML declaration that is none at line 1, column 1"},
		"an open declaration":             {"<?xml version='1.0'", none, "is not XML: it ends too early, at line 1, column 20"},
		"a wrong end":                     {"<xml><a>1</b></xml>", none, `is not XML: the element "a" is closed by "b" at line 1, column 10`},
		"the root's end in a field":       {"<xml><a>1</xml>", none, `is not XML: the element "a" is closed by "xml" at line 1, column 10`},
		"more than a name in an end":      {"<xml><a>1</a b></xml>", none, `is not XML: there is more than a name in the end of the element "a" at line 1, column 14`},
		"a stroke in a tag":               {"<xml><a/ ></xml>", none, `is not XML: there is a / that does not end the element "a" at line 1, column 8`},
		"a blank before a name":           {"<xml>< a>1</a></xml>", none, "is not XML: there is no name of an element where one must be at line 1, column 7"},
		"the end of a CDATA in text":      {"<xml><a>1]]>2</a></xml>", none, "is not XML: there is a ]]> outside of CDATA at line 1, column 10"},
		"an ampersand alone":              {"<xml><a>1 & 2;</a></xml>", none, "is not XML: there is an & that begins no reference, write it as &amp; at line 1, column 11"},
		"an open reference":               {"<xml><a>&amp</a></xml>", none, "is not XML: there is an & that begins no reference, write it as &amp; at line 1, column 9"},
		"a reference that XML lacks":      {"<xml><a>&nbsp;</a></xml>", none, `is not XML: the reference "&nbsp;" is to no character at line 1, column 9`},
		"a reference to nothing":          {"<xml><a>&#x;</a></xml>", none, `is not XML: the reference "&#x;" is to no character at line 1, column 9`},
		"a reference beyond Unicode":      {"<xml><a>&#x110000;</a></xml>", none, `is not XML: the reference "&#x110000;" is to no character at line 1, column 9`},
		"a reference beyond numbers":      {"<xml><a>&#99999999999999999999999;</a></xml>", none, `is not XML: the reference "&#******;" is to no character at line 1, column 9`},
		"a hex digit in a decimal":        {"<xml><a>&#1a;</a></xml>", none, `is not XML: the reference "&#1a;" is to no character at line 1, column 9`},
		"an X in upper case":              {"<xml><a>&#X41;</a></xml>", none, `is not XML: the reference "&#X41;" is to no character at line 1, column 9`},
		"a reference to a control":        {"<xml><a>&#0;</a></xml>", none, "is not XML: the character U+0000 is none of XML at line 1, column 9"},
		"a control character":             {"<xml><a>1\n\x012</a></xml>", none, "is not XML: the character U+0001 is none of XML at line 2, column 1"},
		"one in CDATA":                    {"<xml><a><![CDATA[\x00]]></a></xml>", none, "is not XML: the character U+0000 is none of XML at line 1, column 18"},
		"a character that is none":        {"<xml><a>\uFFFE</a></xml>", none, "is not XML: the character U+FFFE is none of XML at line 1, column 9"},
		"an open root":                    {"<xml><a>1</a>", none, "is not XML: it ends too early, at line 1, column 14"},
		"an open field":                   {"<xml><a>1", none, "is not XML: it ends too early, at line 1, column 10"},
		"an open tag":                     {"<xml><a", none, "is not XML: it ends too early, at line 1, column 8"},
		"an open CDATA":                   {"<xml><a><![CDATA[1]]</a></xml>", none, "is not XML: it ends too early, at line 1, column 31"},
		"an open end":                     {"<xml><a>1</a", none, "is not XML: it ends too early, at line 1, column 13"},
	} {
		t.Run(sentence, func(t *testing.T) {
			got, err := ReadFields([]byte(tt.document))
			switch {
			case tt.want == none && (err == nil || err.Error() != tt.err || got != nil):
				t.Errorf("read %v, %v, want %s", got, err, tt.err)
			case tt.want != none && (err != nil || got["a"] != tt.want):
				t.Errorf("read %q, %v, want %q", got, err, tt.want)
			}
			compare(t, []byte(tt.document))
		})
	}
}

// stricter are the classes of documents that encoding/xml reads and this
// package does not, by its words, each with what such a document has.
var stricter = map[string]func(document []byte) bool{
	// A name that WeChat Pay cannot have.
	"a name that is not of letters, digits": func(d []byte) bool { return bytes.ContainsFunc(d, func(r rune) bool { return r >= 0x80 }) },
	// Outside of the root that is no XML, which encoding/xml does not mind.
	"text outside of a field": func(d []byte) bool { return bytes.Contains(d, []byte(cdata)) || bytes.Contains(d, []byte("&#")) },
	// No XML either: production 23, but that a version may be left out.
	"an XML declaration that is none": func(d []byte) bool { return bytes.Contains(d, []byte("<?xml")) },
	"the version ":                    func(d []byte) bool { return bytes.Contains(d, []byte("<?xml")) },
	"declares another encoding":       func(d []byte) bool { return bytes.Contains(d, []byte("<?xml")) },
}

// compare holds the reader against the one over encoding/xml: what is read is
// read alike, and what is not is refused by it as well or of a class that is
// named. It reports whether the document was read.
func compare(t *testing.T, document []byte) bool {
	t.Helper()
	got, err := ReadFields(document)
	want, wrong := referenceFields(document)
	switch {
	case err == nil && wrong != nil:
		t.Errorf("%.200q was read as %v; encoding/xml says that it %v", document, got, wrong)
	case err == nil && !maps.Equal(got, want):
		t.Errorf("%.200q was read as %v, by encoding/xml as %v", document, got, want)
	case err != nil && wrong == nil:
		for words, has := range stricter {
			if strings.Contains(err.Error(), words) && has(document) {
				return false
			}
		}
		t.Errorf("%.200q was refused: it %v; encoding/xml read %v", document, err, want)
	}
	return err == nil
}

// Documents of pieces that matter, in any order and with any mistake, are read
// as encoding/xml reads them.
func TestReadsLikeEncodingXML(t *testing.T) {
	inValues := []string{
		"1", "SUCCESS", " ", "\t", "\n", "\r", "\r\n", "]", "]]", "]]>", ">", "<![CDATA[", "]]>", "<![CDATA[]]>", "<![CDATA[<a>&lt;\r\n]]>", "&amp;", "&lt;",
		"&apos;", "&#13;", "&#x0a;", "&#0;", "&#xD83D;", "&#xFFFE;", "&nbsp;", "&amp", "&", "&#", ";", "订单", "，", "\uFFFD", "\uFFFE", "\uE000", "😀", "\x01", "\x7f", "\xff", "\xef",
	}
	between := []string{
		"", " ", "\n", "\r\n\t", "\u00a0", "x", "&#32;", "&#x9;", "<![CDATA[ ]]>", "<!-- -->", "<?p ?>", "<!DOCTYPE xml>", "</a>", "<", ">", "\ufeff", "<xml>", "</xml>", "<xml/>",
	}
	begins := []string{
		"", "", "", "\ufeff", " ", "<?xml version=\"1.0\" encoding='UTF-8'?>\n", "<?xml?>", "<?xml version='1.0' standalone='no' ?>", "<?xml version = '1.0'?>",
		"<?xml encoding='gbk'?>", "<?xml version='1.1'?>", "<?xml version='1.0'encoding='utf-8'?>", "<?xml version='1.0' a='b'?>", "<?xml-x ?>", "<?xml:a ?>", "<?xml>?>", "<?xml version='1.0\"?>",
	}
	names := []string{"a", "a", "b", "_c.d-1", "sign", "xml", "1a", "-a", "a:b", ":a", "a:b:c", "单", "a单", "A", "0123456789abcdef0"}
	opens := []string{">", ">", ">", ">", " >", "\r\n>", " b='c'>", "/>", " />", "/ >", " / >", "", "\u00a0>"}
	read, refused := 0, 0
	for seed := range uint64(20000) {
		random := rand.New(rand.NewPCG(seed, 11))
		// often is one of the pieces that are right, mostly.
		often := func(pieces []string, right int) string {
			if random.IntN(12) > 0 {
				pieces = pieces[:right]
			}
			return pieces[random.IntN(len(pieces))]
		}
		document := often(begins, 6) + often([]string{"<xml>", "<xml >", "<xml\n>", "<xml/>", "<html>", "<xml a='b'>", "< xml>"}, 3)
		for field := range random.IntN(5) {
			document += often(between, 4)
			name := often(names, 6)
			if random.IntN(4) > 0 {
				name += string(rune('e' + field)) // so that it is there once
			}
			open := often(opens, 9)
			if document += "<" + name + open; strings.HasSuffix(open, "/>") {
				continue
			}
			for range random.IntN(6) {
				document += often(inValues, 7)
			}
			if random.IntN(3) == 0 {
				document += often([]string{"<![CDATA[]]>", "<![CDATA[<a>&lt;\r\n]]>", "&amp;", "&#13;", "&#x0a;", "订单，", "\uFFFD", "]]"}, 8)
			}
			document += "</" + often([]string{name, "b", ""}, 1) + often([]string{">", " >", "\r\n>", "", "/>"}, 3)
		}
		document += often(between, 4) + often([]string{"</xml>", "</xml >", "", "</xml", "</ xml>", "</html>"}, 2) + often(between, 4)
		if compare(t, []byte(document)) {
			read++
		} else {
			refused++
		}
	}
	if read < 1000 || refused < 1000 {
		t.Errorf("%d were read and %d refused: too little was tried", read, refused)
	}
}

// The two readings of line ends differ in nothing else.
func FuzzReadsLikeEncodingXML(f *testing.F) {
	for _, r := range replyFiles(f) {
		if len(r.body) < 8<<10 {
			f.Add(r.body)
		}
	}
	f.Add([]byte("<?xml version='1.0' encoding=\"utf-8\" standalone='no'?>\r\n<xml>\r<a>1\r\n2\r&#13;&#x0a;]]&gt;<![CDATA[\r]]]]></a\r></xml\n>"))
	f.Add([]byte("\uFEFF<xml><b /><a>&#xD83D;&#xDE00;，\uFFFD</a></xml>"))
	f.Fuzz(func(t *testing.T, document []byte) {
		compare(t, document)
		read, returns, err := readFields(nil, document, asXML)
		raw, again, wrong := readFields(nil, document, asTheyStand)
		if (err == nil) != (wrong == nil) || returns != again || len(read) != len(raw) {
			t.Fatalf("%q: as XML %v, %v, %v, as it stands %v, %v, %v", document, read, returns, err, raw, again, wrong)
		}
		for i := range raw {
			as := read[i].Value
			stands := raw[i].Value
			if read[i].Name != raw[i].Name || as != stands && !(returns && lines(as) == lines(stands)) {
				t.Fatalf("%q: as XML %q, as it stands %q", document, as, stands)
			}
		}
	})
}

// lines is a text with every line end as LF.
func lines(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
}

// What somebody makes as long as he can is read in one pass, too.
func TestManyFieldsAreFound(t *testing.T) {
	var b strings.Builder
	b.WriteString("<xml>")
	n := 0
	for ; b.Len() < MaxDocument-128; n++ {
		b.WriteString("<a" + strings.Repeat("b", n%7) + string(rune('c'+n%20)) + strings.Repeat("d", n/140) + "/>")
	}
	_, err := ReadFields([]byte(b.String() + "</xml>"))
	if err != nil {
		t.Fatal(err)
	}
	for _, again := range []string{"ac", "abbbi"} {
		if _, err := ReadFields([]byte(b.String() + "<" + again + "/></xml>")); err == nil || !strings.Contains(err.Error(), "a second time") {
			t.Errorf("%s was there twice among %d: %v", again, n, err)
		}
	}
}
