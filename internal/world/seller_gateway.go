package world

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/signing"
)

// create creates the order of a payment at the gateway. A buyer who gets no answer
// in time is told that the payment has failed; the call may still arrive.
func (s *Seller) create(pay *payment) {
	for i := range pay.tries {
		s.mu.Lock()
		goes := pay.state == payable && pay.purchase.state == purchaseOpen
		pay.lastCreate = time.Now()
		s.mu.Unlock()
		if !goes {
			return
		}
		code, err := s.call(s.gateways[i%len(s.gateways)], pay)
		if err == nil && code == "" || s.ctx.Err() != nil {
			return
		}
	}
	s.fails(pay)
}

// call makes one create call and returns the code of a refusal.
func (s *Seller) call(gateway string, pay *payment) (code string, err error) {
	s.mu.Lock()
	nonce := fmt.Sprintf("%016x", s.r.Uint64())
	s.mu.Unlock()
	m := pay.merchant
	fields := map[string]string{
		"appid": m.AppID, "mch_id": m.MchID, "nonce_str": nonce, "body": "goods", "out_trade_no": pay.outTradeNo,
		"total_fee": strconv.FormatInt(pay.fee, 10), "spbill_create_ip": "192.0.2.1", "trade_type": "NATIVE",
		"notify_url": "http://" + s.shop.name + "/notices", "attach": pay.id,
	}
	if pay.subMchID != "" {
		fields["sub_mch_id"] = pay.subMchID
	}
	if m.SignType != "" {
		fields["sign_type"] = string(m.SignType)
	}
	fields["sign"] = signing.Sign(fields, m.Keys[0], m.SignType)
	req, err := http.NewRequestWithContext(s.ctx, http.MethodPost, gateway+"/pay/unifiedorder", bytes.NewReader(flatDocument(fields)))
	if err != nil {
		return "", err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	reply, err := readFields(resp.Body)
	switch {
	case err != nil:
		return "", err
	case reply["return_code"] != "SUCCESS":
		return "", errors.New(reply["return_msg"])
	}
	if err := signing.Verify(reply, m.Keys[0], m.SignType); err != nil {
		return "", err
	}
	return reply["err_code"], nil
}

// listen takes notices of payments.
func (s *Seller) listen() error {
	l, err := s.shop.host.Listen(noticePort)
	if err != nil {
		return err
	}
	s.notices = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.notice(r); err != nil {
			s.mu.Lock()
			s.errs = append(s.errs, err)
			s.mu.Unlock()
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		io.WriteString(w, "<xml><return_code>SUCCESS</return_code></xml>")
	})}
	s.running.Go(func() { s.notices.Serve(l) })
	return nil
}

// notice settles the payment that a notice tells of, if it is the gateway's and of
// the whole amount.
func (s *Seller) notice(r *http.Request) error {
	fields, err := readFields(r.Body)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	pay := s.payments[events.Order{MchID: fields["mch_id"], SubMchID: fields["sub_mch_id"], OutTradeNo: fields["out_trade_no"]}]
	if pay == nil {
		return fmt.Errorf("a notice of order %s, which is not ours", fields["out_trade_no"])
	}
	if err := signing.Verify(fields, pay.merchant.Keys[0], pay.merchant.SignType); err != nil {
		return err
	}
	if fields["total_fee"] != strconv.FormatInt(pay.fee, 10) {
		return fmt.Errorf("a notice of %s fen for order %s of %d", fields["total_fee"], pay.outTradeNo, pay.fee)
	}
	pay.settle()
	return nil
}

// flatDocument writes fields as the gateway takes them.
func flatDocument(fields map[string]string) []byte {
	var b bytes.Buffer
	b.WriteString("<xml>")
	for name, value := range fields {
		fmt.Fprintf(&b, "<%s>", name)
		xml.EscapeText(&b, []byte(value))
		fmt.Fprintf(&b, "</%s>", name)
	}
	b.WriteString("</xml>")
	return b.Bytes()
}

// readFields reads a flat document of the gateway.
func readFields(r io.Reader) (map[string]string, error) {
	var doc struct {
		Fields []struct {
			XMLName xml.Name
			Text    string `xml:",chardata"`
		} `xml:",any"`
	}
	if err := xml.NewDecoder(r).Decode(&doc); err != nil {
		return nil, err
	}
	fields := make(map[string]string, len(doc.Fields))
	for _, f := range doc.Fields {
		fields[f.XMLName.Local] = f.Text
	}
	return fields, nil
}
