package v2

import (
	"bytes"
	"errors"
	"testing"
)

const key Key = "192006250b4c09247ec02edce69f6a2d"

func fields(pairs ...string) []Field {
	var fs []Field
	for i := 0; i < len(pairs); i += 2 {
		fs = append(fs, Field{[]byte(pairs[i]), []byte(pairs[i+1])})
	}
	return fs
}

// TestTheExampleOfTheDocumentationIsSigned takes the example of "Signature
// Algorithm", WeChat Pay V2.
func TestTheExampleOfTheDocumentationIsSigned(t *testing.T) {
	got := key.sum(nil, fields("appid", "wxd930ea5d5a258f4f", "body", "test", "device_info", "1000", "mch_id", "10000100", "nonce_str", "ibuaiVcKdpRxkhJA"))
	if want := "9A0A8659F005D6984697E2CA0A9CF3B7"; string(got) != want {
		t.Errorf("signed %s, want %s", got, want)
	}
}

func TestDocumentsAreReadAndVerified(t *testing.T) {
	signed := key.Append(nil, fields("a", "1", "b", "<2>", "return_code", "SUCCESS"))
	for sentence, c := range map[string]struct {
		body []byte
		err  error
	}{
		"what was written is read":              {signed, nil},
		"the order of elements does not matter": {swap(signed, "<a><![CDATA[1]]></a>", "<b><![CDATA[<2>]]></b>"), nil},
		"text without CDATA is the same":        {bytes.Replace(signed, []byte("<![CDATA[1]]>"), []byte("1"), 1), nil},
		"white space between elements is none":  {bytes.Replace(signed, []byte("</a><"), []byte("</a>\r\n <"), 1), nil},
		"an empty field is not signed":          {bytes.Replace(signed, []byte("<xml>"), []byte("<xml><z></z>"), 1), nil},
		"a field more is not signed":            {bytes.Replace(signed, []byte("<xml>"), []byte("<xml><z>1</z>"), 1), ErrSign},
		"another value is not signed":           {bytes.Replace(signed, []byte("[1]"), []byte("[2]"), 1), ErrSign},
		"without a signature it says nothing":   {[]byte("<xml><return_code>SUCCESS</return_code></xml>"), ErrSign},
		"a refusal is not signed":               {[]byte("<xml><return_code>FAIL</return_code></xml>"), nil},
		"a page is no document":                 {[]byte("<html></html>"), ErrXML},
		"a document that is cut off is none":    {signed[:len(signed)-3], ErrXML},
		"an element that is not closed":         {[]byte("<xml><a>1</b></xml>"), ErrXML},
	} {
		if _, err := key.Read(c.body, nil); !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", sentence, err, c.err)
		}
	}
	got, err := key.Read(signed, nil)
	if err != nil || string(Get(got, "b")) != "<2>" || Get(got, "sign") != nil || len(got) != 3 {
		t.Errorf("read %q, %v", got, err)
	}
}

// swap exchanges two parts that stand one behind the other.
func swap(body []byte, first, second string) []byte {
	return bytes.Replace(body, []byte(first+second), []byte(second+first), 1)
}

func BenchmarkCall(b *testing.B) {
	request := fields("appid", "wx8888888888888888", "mch_id", "1900000109", "nonce_str", string(AppendNonce(nil)), "out_trade_no", "20260102030405")
	reply := key.Append(nil, fields("appid", "wx8888888888888888", "mch_id", "1900000109", "nonce_str", "N", "result_code", "SUCCESS", "return_code", "SUCCESS", "return_msg", "OK"))
	var out []byte
	var in [16]Field
	b.ReportAllocs()
	for b.Loop() {
		out = key.Append(out[:0], request)
		if _, err := key.Read(reply, in[:0]); err != nil {
			b.Fatal(err)
		}
	}
}
