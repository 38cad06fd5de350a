package gatewaysim

import (
	"bytes"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/closeorder/closeorder/signing"
)

// send signs the reply, spoils it where it should, and sends it. The key is
// the merchant's at this moment, not at that of the request.
func (c *conversation) send(rep *reply) {
	c.call.Answer = rep.answer
	if rep.fields[0].value == "SUCCESS" { // return_code
		if m, ok := c.s.merchantNow(c.req.order.MchID); ok {
			c.spoilFields(rep, m.Key)
		}
	}
	body := rep.xml()
	if c.fault.Spoil == "" {
		c.write(body)
		return
	}
	c.call.Answer += ", spoiled: " + string(c.fault.Spoil)
	c.spoilConnection(c.spoilText(body))
}

// spoilFields changes fields and signs them.
func (c *conversation) spoilFields(rep *reply, key signing.Key) {
	signType := c.req.signType
	switch c.fault.Spoil {
	case OtherMch:
		rep.set("mch_id", "1900009999")
	case OtherNo:
		if c.call.Op == OrderQuery {
			rep.set("out_trade_no", "another-order")
		}
	case OtherAlgorithm:
		if signType == signing.MD5 {
			signType = signing.HMACSHA256
		} else {
			signType = signing.MD5
		}
	case Huge:
		rep.add("attach", strings.Repeat("x", 70<<10))
	case NotUTF8:
		rep.set("return_msg", "\xb3\xc9\xb9\xa6")
	case Forged:
		if forger, err := signing.NewKey("not-the-key-of-this-merchant"); err == nil {
			key = forger
		}
	}
	rep.sign(key, signType)
	switch c.fault.Spoil {
	case Unsigned:
		rep.remove(signing.FieldSign)
	case UnsignedFail:
		rep.remove(signing.FieldSign)
		rep.set("return_code", "FAIL")
	}
}

// spoilText changes the text of a signed reply.
func (c *conversation) spoilText(body []byte) []byte {
	const result = "<result_code><![CDATA[SUCCESS]]></result_code>"
	replace := func(with string) []byte { return bytes.Replace(body, []byte(result), []byte(with), 1) }
	switch c.fault.Spoil {
	case DupField:
		return replace("<result_code><![CDATA[FAIL]]></result_code>\n" + result)
	case Nested:
		return replace("<result_code><b>SUCCESS</b></result_code>")
	case Doctype:
		return append([]byte("<!DOCTYPE xml [<!ENTITY ok \"SUCCESS\">]>\n"), body...)
	case Trailing:
		return append(body, "<xml><result_code>FAIL</result_code></xml>"...)
	case OtherRoot:
		return []byte("<html>" + strings.TrimSuffix(strings.TrimPrefix(string(body), "<xml>"), "</xml>") + "</html>")
	case BadXML:
		return body[:len(body)-len("sign></xml>")]
	}
	return body
}

// spoilConnection sends the body in the way that the fault asks for.
func (c *conversation) spoilConnection(body []byte) {
	switch c.fault.Spoil {
	case Drop:
		c.hangUp("dropped")
	case BadGateway:
		c.badGateway("status 502")
	case HTML:
		c.call.Answer = "a web page"
		c.page(http.StatusOK, "<html><body>SUCCESS</body></html>\n")
	case Empty:
		c.call.Answer = "an empty body"
		c.write(nil)
	case Lose:
		c.hangUp(c.call.Answer)
	case Stall:
		<-c.r.Context().Done()
		c.gaveUp()
	case Reset:
		c.reset(body)
	case Drip:
		c.drip(body)
	default:
		c.write(body)
	}
}

// reset sends half of the body and resets the connection. On HTTP/2, and on a
// network without resets, it is closed.
func (c *conversation) reset(body []byte) {
	c.finish()
	half := body[:len(body)/2]
	control := http.NewResponseController(c.w)
	conn, buf, err := control.Hijack()
	if err != nil {
		c.header(len(body))
		c.w.Write(half)
		control.Flush()
		panic(http.ErrAbortHandler)
	}
	defer conn.Close()
	buf.WriteString("HTTP/1.1 200 OK\r\nContent-Type: " + contentType + "\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n")
	buf.Write(half)
	buf.Flush()
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0) // Close sends RST in place of FIN
	}
}

// drip sends one byte per [DripInterval]. The call ends with the last one.
func (c *conversation) drip(body []byte) {
	control := http.NewResponseController(c.w)
	c.header(len(body))
	for i := range body {
		if i == len(body)-1 {
			c.finish()
		}
		c.w.Write(body[i : i+1])
		control.Flush()
		if !c.wait(DripInterval) {
			c.gaveUp()
		}
	}
}
