package closer

import (
	"errors"
	"fmt"

	"github.com/closeorder/closeorder/signing"
)

// Merchant is what it takes to call the gateway in a merchant's name. It can
// be printed: keys show as a mask.
type Merchant struct {
	// MchID and SubMchID are as [CheckMchID] takes them, AppID and SubAppID as
	// [CheckAppID] does.
	MchID string
	// AppID is used for orders that bring none; it may be empty when all do.
	AppID string
	// Institution: the merchant is a service provider, and every call needs a
	// sub_mch_id.
	Institution bool
	// SubMchID and SubAppID are used for orders that bring none.
	SubMchID string
	SubAppID string
	// Keys are the API keys in use: one, or two and more while a key is being
	// changed. Calls are signed with the first one, then, when the gateway
	// says that the signature is wrong, with the next; the one that worked is
	// used on. A reply counts under any of them.
	Keys []signing.Key
	// SignType is MD5 or HMAC-SHA256; empty is MD5.
	SignType signing.Type
	// Rate is the most calls per second, see [CheckRate]; 0 means Config.Rate.
	Rate float64
	// Hosts are this merchant's own base URLs in order, as [ParseHost] takes them; empty means Config.Hosts.
	Hosts []string
}

// Merchants knows the merchants in whose name the gateway may be called. It
// is asked once per Close and must be safe for concurrent use.
type Merchants interface {
	Merchant(mchID string) (Merchant, bool)
}

// MerchantMap is a fixed set of merchants by mch_id.
type MerchantMap map[string]Merchant

// NewMerchantMap checks the merchants and puts them into a map. The error
// names every mistake.
func NewMerchantMap(list ...Merchant) (MerchantMap, error) {
	set := make(MerchantMap, len(list))
	var errs []error
	for _, m := range list {
		if err := m.Check(); err != nil {
			errs = append(errs, err)
		}
		if _, twice := set[m.MchID]; twice {
			errs = append(errs, fmt.Errorf("merchant %s is there twice", shownID(m.MchID)))
		}
		set[m.MchID] = m
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return set, nil
}

// Merchant returns the merchant with the given mch_id.
func (m MerchantMap) Merchant(mchID string) (Merchant, bool) {
	got, ok := m[mchID]
	return got, ok
}

// Check reports every mistake that would make all calls of the merchant fail.
func (m Merchant) Check() error {
	problems := m.problems()
	if len(m.Keys) == 0 {
		problems = append(problems, errors.New("there is no key"))
	}
	for i, k := range m.Keys {
		if k.IsZero() {
			problems = append(problems, fmt.Errorf("key %d of %d is empty", i+1, len(m.Keys)))
		}
	}
	for i, p := range problems {
		problems[i] = fmt.Errorf("merchant %q: %w", shownID(m.MchID), p)
	}
	return errors.Join(problems...)
}

// problems is Check for all but the keys.
func (m Merchant) problems() []error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := CheckMchID(m.MchID); err != nil {
		bad("mch_id %w", err)
	}
	for _, f := range []struct {
		name, value string
		check       func(string) error
	}{
		{"appid", m.AppID, CheckAppID}, {"sub_mch_id", m.SubMchID, CheckMchID}, {"sub_appid", m.SubAppID, CheckAppID},
	} {
		if f.value == "" {
			continue
		}
		if err := f.check(f.value); err != nil {
			bad("%s %w", f.name, err)
		}
	}
	if _, err := signing.ParseType(string(m.SignType)); err != nil {
		bad("sign_type: %w", err)
	}
	if m.Rate != 0 {
		if err := CheckRate(m.Rate); err != nil {
			bad("rate %w", err)
		}
	}
	if !m.Institution && (m.SubMchID != "" || m.SubAppID != "") {
		bad("sub_mch_id and sub_appid belong to institution mode")
	}
	if err := checkHosts(m.Hosts); err != nil {
		bad("%w", err)
	}
	return errs
}
