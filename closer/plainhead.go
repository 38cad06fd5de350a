package closer

import "bytes"

// plainHead reads the head of a reply at the beginning of b where it is of the
// one kind that gateways send when all is well: HTTP/1.1, status 200, all of it
// there, no line that is in any way unusual, one Content-Length, and nothing
// said of the connection but that it is kept. head is its length, length that of the
// body. Where ok is false nothing is said of it: it is for http.ReadResponse,
// which is what this is a shorter way for, and which takes all that this takes
// for the same (RFC 9112, sections 4 to 6; FuzzPlainHead).
func plainHead(b []byte) (head, length int, ok bool) {
	const begin = "HTTP/1.1 200"
	end := bytes.IndexByte(b, '\n')
	if end <= len(begin) || string(b[:len(begin)]) != begin || b[end-1] != '\r' || b[len(begin)] != ' ' && len(begin) != end-1 {
		return 0, 0, false
	}
	length = -1
	for {
		start := end + 1
		n := bytes.IndexByte(b[start:], '\n')
		if n < 1 || b[start+n-1] != '\r' {
			return 0, 0, false
		}
		line := b[start : start+n-1]
		end = start + n
		if len(line) == 0 {
			return end + 1, length, length >= 0
		}
		colon := bytes.IndexByte(line, ':')
		if colon < 1 || !plainName(line[:colon]) || !plainValue(line[colon+1:]) {
			return 0, 0, false
		}
		name, value := line[:colon], bytes.Trim(line[colon+1:], " \t")
		switch {
		case isName(name, "content-length"):
			if length >= 0 {
				return 0, 0, false
			}
			if length = plainLength(value); length < 0 {
				return 0, 0, false
			}
		case isName(name, "connection"):
			if !isName(value, "keep-alive") {
				return 0, 0, false
			}
		case isName(name, "transfer-encoding"), isName(name, "trailer"):
			return 0, 0, false
		}
	}
}

// isName compares without regard to case.
func isName(b []byte, lower string) bool {
	return len(b) == len(lower) && bytes.EqualFold(b, []byte(lower))
}

func plainName(b []byte) bool {
	for _, c := range b {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-') {
			return false
		}
	}
	return true
}

func plainValue(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// plainLength reads at most seven digits, -1 where it is anything else.
func plainLength(b []byte) int {
	if len(b) == 0 || len(b) > 7 {
		return -1
	}
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return -1
		}
		n = 10*n + int(c-'0')
	}
	return n
}
