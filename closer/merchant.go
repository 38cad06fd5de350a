package closer

import "github.com/closeorder/closeorder/signing"

// Merchant is what it takes to call the gateway in a merchant's name. It can
// be printed: keys show as a mask.
type Merchant struct {
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
	// Hosts are this merchant's own base URLs in order; empty means Config.Hosts.
	Hosts []string
}

// Merchants knows the merchants in whose name the gateway may be called. It
// is asked once per Close and must be safe for concurrent use.
type Merchants interface {
	Merchant(mchID string) (Merchant, bool)
}

// MerchantMap is a fixed set of merchants by mch_id.
type MerchantMap map[string]Merchant

// Merchant returns the merchant with the given mch_id.
func (m MerchantMap) Merchant(mchID string) (Merchant, bool) {
	got, ok := m[mchID]
	return got, ok
}
