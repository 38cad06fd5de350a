package events

import "bytes"

// A request that is refused or cannot be read at all may still name its order:
// in a layer that is broken, under a member that nobody knows, as the only
// element of an array. Whoever waits for the answer can then match it. What is
// found here names a failed outcome and decides nothing.

// finder looks for the one order in a document.
type finder struct {
	order  Order
	object object // that names it
	member string // in which it stands, "" at the top
	found  bool
	many   bool // there are different ones, so it is none
}

// look goes through doc, at most depth layers deep. member is the last one on
// the way.
func (f *finder) look(doc []byte, member string, depth int) {
	if inner, prefix := unframe(doc); prefix > 0 {
		doc = inner
	}
	doc = bytes.TrimPrefix(doc, byteOrderMark)
	at := skipSpace(doc, 0)
	if at >= len(doc) || depth < 0 || f.many {
		return
	}
	switch doc = doc[at:]; doc[0] {
	case '"':
		text := unquotePart(doc)
		if inner := unbase64(text); inner != nil {
			text = inner
		}
		f.look(text, member, depth-1)
	case '[':
		eachElement(doc, func(raw []byte) { f.look(raw, member, depth-1) })
	case '{':
		o := scanObject(doc, requestWords, false)
		if layer := scanObject(doc, layerWords, false); f.take(&o, member) && !isEvent(&layer) {
			return
		}
		eachMember(doc, false, func(quoted, raw []byte, _ bool) {
			if name := textOf(quoted); len(raw) > 0 && (raw[0] == '{' || raw[0] == '[' || raw[0] == '"') && !isMetadata(name) {
				f.look(raw, name, depth-1)
			}
		})
	}
}

// isMetadata reports whether a member is the sender's own: an order in there,
// say the one before, is not the order of the request.
func isMetadata(name string) bool { return fold([]byte(name)) == foldedMetadata }

var foldedMetadata = fold([]byte("metadata"))

// take keeps the order that o names, and reports whether it names one.
func (f *finder) take(o *object, member string) bool {
	var ignored problems
	order := Order{
		MchID:      o.identity("mch_id", &ignored),
		SubMchID:   o.identity("sub_mch_id", &ignored),
		OutTradeNo: o.identity("out_trade_no", &ignored),
	}
	if order.OutTradeNo == "" {
		return false
	}
	if f.found && f.order != order {
		f.many = true
	}
	f.order, f.object, f.member, f.found = order, *o, member, true
	return true
}

// unquotePart returns the text of a JSON string, also of one that breaks off,
// as far as it goes.
func unquotePart(doc []byte) []byte {
	end := skipString(doc, 0)
	if end > 0 {
		return []byte(textOf(doc[:end]))
	}
	// An escape is at most twelve bytes long (a surrogate pair).
	for cut := range min(12, len(doc)) {
		part := append(bytes.Clone(doc[:len(doc)-cut]), '"')
		if skipString(part, 0) == len(part) {
			if text := textOf(part); text != "" {
				return []byte(text)
			}
		}
	}
	return nil
}
