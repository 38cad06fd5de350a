package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/closeorder/closeorder/signing"
)

// gateway makes the two calls of WeChat Pay V2 that a shop needs. Closing is
// closeorder's.
type gateway struct {
	url       string // such as https://api.mch.weixin.qq.com
	appID     string
	key       signing.Key
	notifyURL string
	client    *http.Client
}

// document is a flat <xml> document, as the gateway reads and writes it. It may
// have a field twice; then its signature does not verify.
type document []signing.Field

func (d document) get(name string) string {
	for _, f := range d {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// refusedError is an answer that says no.
type refusedError struct{ code, text string }

func (e *refusedError) Error() string {
	if e.code == "" {
		return fmt.Sprintf("refused, unsigned: %q (a wrong SHOP_API_KEY, appid or mch_id is told so)", e.text)
	}
	return e.code + ": " + e.text
}

// final is whether the same call will never work. The others are the gateway's
// own troubles: again, with the same number ("Unified Order", error codes).
func (e *refusedError) final() bool {
	switch e.code {
	case "SYSTEMERROR", "FREQUENCY_LIMITED", "":
		return false
	}
	return true
}

// create makes a number payable ("Unified Order"). The same number again is no
// second order. Where there is an error it may have arrived all the same.
func (g *gateway) create(ctx context.Context, pay payment) (codeURL string, err error) {
	reply, err := g.call(ctx, "unifiedorder", document{
		{Name: "out_trade_no", Value: pay.outTradeNo},
		{Name: "total_fee", Value: strconv.FormatInt(pay.fee, 10)},
		{Name: "attach", Value: pay.purchase}, // comes back in notices and queries
		{Name: "body", Value: "an example"},
		{Name: "trade_type", Value: "NATIVE"},
		{Name: "spbill_create_ip", Value: "127.0.0.1"},
		{Name: "notify_url", Value: g.notifyURL},
	})
	return reply.get("code_url"), err
}

// query asks what became of a number ("Query Order"): its trade_state, unknown
// where the gateway has never seen it, and what was paid. It asks a few times.
func (g *gateway) query(ctx context.Context, outTradeNo string) (state string, fee int64, err error) {
	var reply document
	for range 5 {
		var refused *refusedError
		reply, err = g.call(ctx, "orderquery", document{{Name: "out_trade_no", Value: outTradeNo}})
		if err == nil || errors.As(err, &refused) && refused.final() || !pause(ctx, 200*time.Millisecond) {
			break
		}
	}
	var refused *refusedError
	switch {
	case errors.As(err, &refused) && refused.code == "ORDERNOTEXIST":
		return "unknown", 0, nil
	case err != nil:
		return "", 0, err
	case reply.get("out_trade_no") != outTradeNo:
		return "", 0, fmt.Errorf("query of %s: the answer is about another number", outTradeNo)
	}
	if text := reply.get("total_fee"); text != "" {
		fee, err = strconv.ParseInt(text, 10, 64)
	}
	return reply.get("trade_state"), fee, err
}

// call signs and posts a document. What comes back is believed only if it is
// signed with our key and is about our merchant.
func (g *gateway) call(ctx context.Context, operation string, fields document) (document, error) {
	fields = append(fields,
		signing.Field{Name: "appid", Value: g.appID},
		signing.Field{Name: "mch_id", Value: merchant},
		signing.Field{Name: "nonce_str", Value: rand.Text()}, // another one for each call
		signing.Field{Name: "sign_type", Value: string(signing.HMACSHA256)},
	)
	fields = append(fields, signing.Field{Name: signing.FieldSign, Value: string(signing.AppendSign(nil, fields, g.key, signing.HMACSHA256))})
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(g.url, "/")+"/pay/"+operation, bytes.NewReader(fields.xml()))
	if err != nil {
		return nil, err
	}
	response, err := g.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	reply, err := readDocument(response.Body)
	switch {
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s: HTTP status %s", operation, response.Status)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", operation, err)
	case reply.get("return_code") != "SUCCESS": // never signed: it proves nothing
		return nil, &refusedError{text: reply.get("return_msg")}
	}
	if err := g.verify(reply); err != nil {
		return nil, fmt.Errorf("%s: %w", operation, err)
	}
	if reply.get("result_code") != "SUCCESS" {
		return nil, &refusedError{code: reply.get("err_code"), text: reply.get("err_code_des")}
	}
	return reply, nil
}

// verify checks that a reply or a notice was signed with our key, and is ours.
func (g *gateway) verify(d document) error {
	if err := signing.VerifyFields(d, g.key, signing.HMACSHA256); err != nil {
		return err
	}
	if d.get("mch_id") != merchant || d.get("appid") != g.appID {
		return fmt.Errorf("it is for mch_id %q and appid %q", d.get("mch_id"), d.get("appid"))
	}
	return nil
}

// readDocument reads one flat <xml> document of at most 64 KiB.
func readDocument(r io.Reader) (document, error) {
	var root struct {
		XMLName xml.Name `xml:"xml"`
		Fields  []struct {
			XMLName xml.Name
			Value   string `xml:",chardata"`
		} `xml:",any"`
	}
	body, err := io.ReadAll(io.LimitReader(r, 64<<10))
	if err == nil {
		err = xml.Unmarshal(body, &root)
	}
	if err != nil {
		return nil, fmt.Errorf("not an XML document: %w", err)
	}
	var d document
	for _, f := range root.Fields {
		d = append(d, signing.Field{Name: f.XMLName.Local, Value: f.Value})
	}
	return d, nil
}

func (d document) xml() []byte {
	var b bytes.Buffer
	b.WriteString("<xml>")
	for _, f := range d {
		b.WriteString("<" + f.Name + ">")
		_ = xml.EscapeText(&b, []byte(f.Value)) // a buffer takes all
		b.WriteString("</" + f.Name + ">")
	}
	b.WriteString("</xml>")
	return b.Bytes()
}
