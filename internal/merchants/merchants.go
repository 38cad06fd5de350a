// Package merchants knows in whose name the gateway may be called: the file of
// merchants and its key files, how they are followed while they change, and
// what a mch_id, an appid and a base URL must look like wherever somebody
// writes one. It knows no gateway and no Kafka.
//
//	file, key files, environment --parse--> []closer.Merchant | Mistakes
package merchants

import (
	"errors"
	"fmt"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/signing"
)

// NewMap checks merchants that were made in code and puts them into a map. The
// error names every mistake that would make all calls of a merchant fail; it
// shows no key.
func NewMap(list ...closer.Merchant) (closer.MerchantMap, error) {
	set := make(closer.MerchantMap, len(list))
	var errs []error
	for _, m := range list {
		for _, problem := range problems(m) {
			errs = append(errs, fmt.Errorf("merchant %q: %w", shownID(m.MchID), problem))
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

// errNotInstitution: what only a provider has was given to another merchant.
var errNotInstitution = errors.New("sub_mch_id and sub_appid belong to institution mode")

func problems(m closer.Merchant) []error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, f := range []struct {
		name, value string
		check       func(string) error
	}{
		{"mch_id", m.MchID, CheckMchID}, {"appid", m.AppID, CheckAppID}, {"sub_mch_id", m.SubMchID, CheckMchID}, {"sub_appid", m.SubAppID, CheckAppID},
	} {
		if f.value == "" && f.name != "mch_id" {
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
		if err := closer.CheckRate(m.Rate); err != nil {
			bad("rate %w", err)
		}
	}
	if !m.Institution && (m.SubMchID != "" || m.SubAppID != "") {
		errs = append(errs, errNotInstitution)
	}
	_, wrong := ParseHosts(m.Hosts)
	for i := range m.Hosts {
		if wrong[i] != nil {
			bad("host %w", wrong[i])
		}
	}
	if len(m.Keys) == 0 {
		bad("there is no key")
	}
	for i, k := range m.Keys {
		if k.IsZero() {
			bad("key %d of %d is empty", i+1, len(m.Keys))
		}
	}
	return errs
}
