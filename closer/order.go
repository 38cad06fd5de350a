package closer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/closeorder/closeorder/signing"
)

// Order names the order to close.
type Order struct {
	// MchID is the merchant; in institution mode the service provider.
	MchID string
	// AppID, SubMchID and SubAppID are empty for the merchant's own.
	AppID    string
	SubMchID string
	SubAppID string
	// OutTradeNo is the merchant's number of the order.
	OutTradeNo string
	// CreatedAt is when the create call was sent, or the latest time at which
	// it can have been. Zero means unknown, and counts as "just now" wherever
	// the age of an order decides (Config.SettleAge). A time ahead of now is that
	// of an order that is young for as long. It is compared with now once, when
	// the Close begins: after that no clock makes the order older, but time.
	CreatedAt time.Time
	// Tried: calls for it were made before and came to nothing final. Then the
	// answer to the next one leaves doubt, see ConfirmDoubt.
	Tried bool
	// Place is what a Close or a Query of it takes up at its caller's, who may use
	// it otherwise while it only waits. nil: nothing. An Observer does not see it.
	Place Place
}

// Place is one of a number of places for calls. A Close asks it from one goroutine.
type Place interface {
	// Rest waits for d, or until ctx ends, and returns why ctx has ended. It may
	// take longer: until the place is free again. called says whether the Close
	// has made a call already; else its merchant's rate lets it wait.
	Rest(ctx context.Context, d time.Duration, called bool) error
}

// identity is who a call is about: an Order with the merchant's own values
// filled in.
type identity struct {
	appID, mchID, subAppID, subMchID, outTradeNo string
	// ownAppID, ownSubMchID and ownSubAppID are set where the order brought the
	// value and not the merchant's configuration. foreignAppID: the order's
	// appid is another than the configured one. A refusal of these says nothing
	// of the merchant's other orders.
	ownAppID, ownSubMchID, ownSubAppID string
	foreignAppID                       bool
}

// fields are what is sent of id. An empty one is not.
func (id identity) fields() [5]signing.Field {
	return [...]signing.Field{
		{Name: "appid", Value: id.appID}, {Name: "mch_id", Value: id.mchID}, {Name: "sub_appid", Value: id.subAppID},
		{Name: "sub_mch_id", Value: id.subMchID}, {Name: "out_trade_no", Value: id.outTradeNo},
	}
}

// sent returns the identity that was sent under a field's name; ok is false
// where the field is none or was left empty.
func (id *identity) sent(name string) (value string, ok bool) {
	switch name {
	case "appid":
		value = id.appID
	case "mch_id":
		value = id.mchID
	case "sub_appid":
		value = id.subAppID
	case "sub_mch_id":
		value = id.subMchID
	case "out_trade_no":
		value = id.outTradeNo
	}
	return value, value != ""
}

// identify fills in the merchant's values and says what cannot be sent. It
// does not judge what the gateway can judge: an over-strict check here makes
// a real order unclosable.
func identify(o *Order, m *Merchant) (identity, error) {
	id := identity{
		appID:      cmp.Or(o.AppID, m.AppID),
		mchID:      o.MchID,
		subAppID:   cmp.Or(o.SubAppID, m.SubAppID),
		subMchID:   cmp.Or(o.SubMchID, m.SubMchID),
		outTradeNo: o.OutTradeNo,
	}
	if id.appID != m.AppID {
		id.ownAppID, id.foreignAppID = id.appID, m.AppID != ""
	}
	if id.subMchID != m.SubMchID {
		id.ownSubMchID = id.subMchID
	}
	if id.subAppID != m.SubAppID {
		id.ownSubAppID = id.subAppID
	}
	var errs []error
	for _, f := range id.fields() {
		optional := f.Name == "sub_appid" || f.Name == "sub_mch_id" && !m.Institution
		if err := sendable(f.Value); err != nil {
			errs = append(errs, fmt.Errorf("%s %w", f.Name, err))
		} else if f.Value == "" && !optional {
			errs = append(errs, fmt.Errorf("%s is missing", f.Name))
		}
	}
	return id, errors.Join(errs...)
}

// sendable reports what keeps a value out of a V2 request: the gateway takes
// UTF-8 of one to three bytes per character, and XML has no control
// characters. A replacement character would be signed but not meant.
func sendable(v string) error {
	if !utf8.ValidString(v) {
		return errors.New("is not valid UTF-8")
	}
	for _, r := range v {
		switch {
		case r < 0x20 || r == 0x7F || r == 0xFFFE || r == 0xFFFF:
			return fmt.Errorf("has the control character %U", r)
		case r > 0xFFFF:
			return fmt.Errorf("has %q, a character of four bytes, which the gateway does not take", r)
		}
	}
	return nil
}
