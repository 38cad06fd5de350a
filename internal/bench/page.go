package main

import (
	"bytes"
	"fmt"
	"os"
)

// The marks between which a page has the tables.
const (
	pageBegin = "<!-- make bench writes what follows -->\n"
	pageEnd   = "<!-- make bench wrote what stands above -->\n"
)

// writePage puts the tables into a page. What the run was held to stays out: it is
// the page that the next one is compared with.
func (r *Report) writePage(path, to string) error {
	page, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, begins := bytes.Cut(page, []byte(pageBegin))
	_, after, ends := bytes.Cut(rest, []byte(pageEnd))
	if !begins || !ends {
		return fmt.Errorf("%s has no line %q with a line %q behind it", path, pageBegin[:len(pageBegin)-1], pageEnd[:len(pageEnd)-1])
	}
	var b bytes.Buffer
	b.Write(before)
	b.WriteString(pageBegin)
	shown := *r
	shown.Held = nil
	shown.print(&b, to)
	b.WriteString("\n" + pageEnd)
	b.Write(after)
	return os.WriteFile(path, b.Bytes(), 0o644)
}
