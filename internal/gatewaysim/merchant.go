package gatewaysim

import (
	"fmt"
	"time"

	"golang.org/x/time/rate"

	"github.com/closeorder/closeorder/signing"
)

// The API keys of [DefaultMerchants]. They are no secrets: the first is the
// one that the signature vectors in WeChat Pay's public documents use, the
// others are made up.
const (
	DirectKey      = "192006250b4c09247ec02edce69f6a2d"
	HMACKey        = "7d3f0c6a91b24e58a0c5e2f84b6d1937"
	InstitutionKey = "e4b19c07d65f4a2283f1b07c9ad5e60b"
)

// Merchant is a merchant of the simulated gateway.
type Merchant struct {
	MchID, AppID string
	Key          signing.Key
	// SignType is the only one accepted from the merchant; empty for both.
	SignType signing.Type
	// Institution mode: every call must name a sub_mch_id, any one. In direct
	// mode none may be named.
	Institution bool
}

// DefaultMerchants are three merchants with appid wx8888888888888888:
// 1900000109, direct, MD5 by default, with DirectKey; 1900000110, direct,
// HMAC-SHA256 only, with HMACKey; 1900000111, institution mode with any
// sub_mch_id, with InstitutionKey.
func DefaultMerchants() []Merchant {
	key := func(secret string) signing.Key {
		k, err := signing.NewKey(secret)
		if err != nil {
			panic("gatewaysim: default key: " + err.Error()) // a constant of ours
		}
		return k
	}
	const appID = "wx8888888888888888"
	return []Merchant{
		{MchID: "1900000109", AppID: appID, Key: key(DirectKey)},
		{MchID: "1900000110", AppID: appID, Key: key(HMACKey), SignType: signing.HMACSHA256},
		{MchID: "1900000111", AppID: appID, Key: key(InstitutionKey), Institution: true},
	}
}

func (m Merchant) check() error {
	switch {
	case m.MchID == "":
		return fmt.Errorf("gateway simulator: a merchant has no mch_id")
	case m.AppID == "":
		return fmt.Errorf("gateway simulator: merchant %s has no appid", m.MchID)
	case m.Key.IsZero():
		return fmt.Errorf("gateway simulator: merchant %s has no key", m.MchID)
	}
	if m.SignType != "" {
		if _, err := signing.ParseType(string(m.SignType)); err != nil {
			return fmt.Errorf("gateway simulator: merchant %s: %w", m.MchID, err)
		}
	}
	return nil
}

// merchant is a Merchant and what changes of it; Simulator.mu guards it.
type merchant struct {
	Merchant
	refused string        // the code that every call is answered with; empty for none
	limit   *rate.Limiter // nil for none; safe for concurrent use by itself
}

func newMerchant(m Merchant, perSecond float64) *merchant {
	out := &merchant{Merchant: m}
	if perSecond > 0 {
		out.limit = rate.NewLimiter(rate.Limit(perSecond), max(1, int(perSecond)))
	}
	return out
}

func (m *merchant) tooFast(now time.Time) bool { return m.limit != nil && !m.limit.AllowN(now, 1) }

// SetKey changes the key of a merchant from one moment to the next: the
// requests that come in from now on must be signed with it, and the replies
// that go out from now on are, also those to requests that came in before.
func (s *Simulator) SetKey(mchID string, key signing.Key) error {
	if key.IsZero() {
		return fmt.Errorf("gateway simulator: new key of merchant %s is empty", mchID)
	}
	return s.change(mchID, func(m *merchant) { m.Key = key })
}

// Refuse answers every call of a merchant, signed, with a code of the
// merchant's configuration such as NOAUTH or ACCOUNT_ERROR; the empty code
// serves him again.
func (s *Simulator) Refuse(mchID, code string) error {
	return s.change(mchID, func(m *merchant) { m.refused = code })
}

func (s *Simulator) change(mchID string, do func(*merchant)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.merchants[mchID]
	if m == nil {
		return fmt.Errorf("gateway simulator: no merchant %s", mchID)
	}
	do(m)
	return nil
}

// merchantNow is the merchant as he is at this moment.
func (s *Simulator) merchantNow(mchID string) (merchant, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	m := s.merchants[mchID]
	if m == nil {
		return merchant{}, false
	}
	return *m, true
}
