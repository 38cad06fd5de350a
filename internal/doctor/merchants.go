package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/internal/worker"
	"golang.org/x/time/rate"
)

// CheckProbe is what the gateway says of a merchant.
const CheckProbe = "merchant-probe"

const (
	// probesPerSecond is how many merchants are asked about in a second.
	probesPerSecond = 10
	// probesAtOnce bounds them where the gateway is slow.
	probesAtOnce = 8
	// mostNamed is how many merchants of one kind of trouble have a finding.
	mostNamed = 20
)

// probe asks the gateway in the name of each merchant about an order that cannot
// exist: only a reply that is signed with the merchant's key proves that.
func (d *Doctor) probe(ctx context.Context) (found []Finding) {
	gateway, err := worker.NewCloser(d.cfg, worker.Deps{})
	if err != nil {
		return []Finding{{Danger, CheckProbe, "merchants", err.Error(), "set it right"}}
	}
	defer gateway.CloseIdleConnections()
	pace := rate.NewLimiter(probesPerSecond, 1)
	checkups := make([]closer.Checkup, len(d.cfg.Merchants))
	var under sync.WaitGroup
	room := make(chan struct{}, probesAtOnce)
	for i, m := range d.cfg.Merchants {
		if pace.Wait(ctx) != nil {
			checkups[i] = closer.Checkup{Class: closer.Interrupted, Code: closer.CodeInterrupted, Reason: "interrupted"}
			continue
		}
		room <- struct{}{}
		under.Go(func() {
			defer func() { <-room; d.step() }()
			checkups[i] = gateway.Check(ctx, m.MchID)
		})
	}
	under.Wait()
	return aboutCheckups(d.cfg.Merchants, checkups)
}

// aboutCheckups judges them: each merchant with trouble has a finding, as long as
// those of one kind are not many.
func aboutCheckups(merchants []closer.Merchant, checkups []closer.Checkup) (found []Finding) {
	proven := 0
	kinds := make(map[string]int)
	for i, c := range checkups {
		if c.Proven {
			if proven++; c.Key > 1 {
				found = append(found, Finding{Note, CheckProbe, "merchant " + merchants[i].MchID, fmt.Sprintf("the gateway takes key %d of %d, not the first", c.Key, len(merchants[i].Keys)), "leave out the keys that are over when the change is done"})
			}
			continue
		}
		f := aboutCheckup(merchants[i].MchID, c)
		kind := f.Severity.String() + c.Class.String() + c.Code
		if kinds[kind]++; kinds[kind] <= mostNamed {
			found = append(found, f)
		}
	}
	for kind, n := range kinds {
		if n > mostNamed {
			i := slices.IndexFunc(checkups, func(c closer.Checkup) bool { return strings.HasSuffix(kind, c.Class.String()+c.Code) })
			like := aboutCheckup(merchants[i].MchID, checkups[i])
			found = append(found, Finding{like.Severity, CheckProbe, fmt.Sprintf("%d more merchants", n-mostNamed), "the same: " + checkups[i].Code, like.Remedy})
		}
	}
	if proven > 0 {
		found = append(found, Finding{OK, CheckProbe, "merchants", fmt.Sprintf("%d of %d are proven: the gateway takes their key and signs its reply with it", proven, len(merchants)), ""})
	}
	return found
}

func aboutCheckup(mchID string, c closer.Checkup) Finding {
	f := Finding{Warning, CheckProbe, "merchant " + mchID, c.Code + ": " + c.Reason, "run this again"}
	switch c.Class {
	case closer.MerchantRefused:
		f.Severity, f.Remedy = Danger, "see the merchant's api key (V2), sign_type, mch_id and appid, and its permissions at the merchant platform; until then its requests wait"
	case closer.NoAnswer:
		f.Remedy = "see host-reachable; a reply that is not signed with the merchant's key comes from elsewhere, or the key is an old one"
	case closer.Failed:
		if c.Code == closer.CodeInvalidRequest {
			f.Severity, f.Remedy = Note, "nothing, if each request brings what is missing"
		} else {
			f.Remedy = "see what the gateway says"
		}
	}
	return f
}
