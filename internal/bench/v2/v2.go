// Package v2 signs, writes and reads documents of WeChat Pay V2 as an expert
// would who owes nobody an explanation: no maps, no reflection, no XML library,
// MD5 alone. The gateway and the peers of the benchmark speak it. It shares
// nothing with closeorder, which has to be faster than it by its own means.
//
//	fields, sorted --Append--> <xml>...<sign/></xml> --Read--> fields, sorted and verified
package v2

import (
	"bytes"
	"crypto/md5"
	"crypto/subtle"
	"errors"
	"math/rand/v2"
)

// Field is one element under the root. Value holds no "]]>".
type Field struct{ Name, Value []byte }

// Key is the API key that two sides share. It is safe for concurrent use.
type Key string

// What is wrong with a document.
var (
	ErrXML  = errors.New("v2: not one flat <xml> document")
	ErrSign = errors.New("v2: the signature does not verify")
)

const upperHex = "0123456789ABCDEF"

// Append appends the document of the fields and their signature to dst. The
// fields must be sorted by name, as the signature wants them, and have values.
func (k Key) Append(dst []byte, fields []Field) []byte {
	dst = append(dst, "<xml>"...)
	for _, f := range fields {
		dst = element(dst, f)
	}
	var sum [2 * md5.Size]byte
	dst = element(dst, Field{[]byte("sign"), k.sum(sum[:0], fields)})
	return append(dst, "</xml>"...)
}

func element(dst []byte, f Field) []byte {
	dst = append(append(append(dst, '<'), f.Name...), "><![CDATA["...)
	dst = append(append(dst, f.Value...), "]]></"...)
	return append(append(dst, f.Name...), '>')
}

// sum appends the signature in upper-case hex.
func (k Key) sum(dst []byte, fields []Field) []byte {
	var room [768]byte
	text := room[:0]
	for _, f := range fields {
		text = append(append(append(text, f.Name...), '='), f.Value...)
		text = append(text, '&')
	}
	text = append(append(text, "key="...), k...)
	for _, b := range md5.Sum(text) {
		dst = append(dst, upperHex[b>>4], upperHex[b&15])
	}
	return dst
}

// Read appends the fields of a document to into, sorted by name, without sign
// and without those that are empty, and verifies their signature. They point
// into body. A reply with another return_code than SUCCESS is not signed: its
// fields come with a nil error.
func (k Key) Read(body []byte, into []Field) ([]Field, error) {
	into = into[:0]
	var sign []byte
	rest := bytes.TrimSpace(body)
	rest, ok := bytes.CutPrefix(rest, []byte("<xml>"))
	if !ok {
		return into, ErrXML
	}
	for {
		rest = bytes.TrimLeft(rest, " \r\n\t")
		if string(rest) == "</xml>" {
			break
		}
		f, after, ok := readElement(rest)
		if !ok {
			return into, ErrXML
		}
		rest = after
		switch {
		case string(f.Name) == "sign":
			sign = f.Value
		case len(f.Value) > 0:
			into = append(into, f)
			for i := len(into) - 1; i > 0 && bytes.Compare(into[i-1].Name, f.Name) > 0; i-- {
				into[i-1], into[i] = f, into[i-1]
			}
		}
	}
	if code := Get(into, "return_code"); code != nil && string(code) != "SUCCESS" {
		return into, nil
	}
	var sum [2 * md5.Size]byte
	if subtle.ConstantTimeCompare(k.sum(sum[:0], into), sign) != 1 {
		return into, ErrSign
	}
	return into, nil
}

// readElement reads <name>value</name>, the value as text without entities or as
// one CDATA section.
func readElement(b []byte) (f Field, rest []byte, ok bool) {
	end := bytes.IndexByte(b, '>')
	if end < 2 || b[0] != '<' {
		return f, nil, false
	}
	f.Name, b = b[1:end], b[end+1:]
	if text, cdata := bytes.CutPrefix(b, []byte("<![CDATA[")); cdata {
		f.Value, b, ok = bytes.Cut(text, []byte("]]>"))
		if !ok {
			return f, nil, false
		}
	} else {
		end := bytes.IndexByte(b, '<')
		if end < 0 || bytes.IndexByte(b[:end], '&') >= 0 {
			return f, nil, false
		}
		f.Value, b = b[:end], b[end:]
	}
	n := len(f.Name)
	if len(b) < n+3 || b[0] != '<' || b[1] != '/' || !bytes.Equal(b[2:2+n], f.Name) || b[2+n] != '>' {
		return f, nil, false
	}
	return f, b[n+3:], true
}

// Get returns the value of a field, nil where there is none.
func Get(fields []Field, name string) []byte {
	for i := range fields {
		if string(fields[i].Name) == name {
			return fields[i].Value
		}
	}
	return nil
}

// AppendNonce appends 32 characters that have hardly been there before.
func AppendNonce(dst []byte) []byte {
	for range 2 {
		v := rand.Uint64()
		for range 16 {
			dst = append(dst, upperHex[v&15])
			v >>= 4
		}
	}
	return dst
}
