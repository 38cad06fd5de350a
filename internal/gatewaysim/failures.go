package gatewaysim

import "fmt"

// Failures are shares of calls, each 0..1 and together at most 1, that fail
// whatever the order. A call that fails is not spoiled otherwise.
type Failures struct {
	// SystemError: signed SYSTEMERROR, nothing done.
	SystemError float64
	// Drop: the connection is closed, nothing done.
	Drop float64
	// Lose: the call takes effect and the connection is closed.
	Lose float64
	// BadGateway: HTTP status 502 with an HTML body, nothing done.
	BadGateway float64
}

// EvenFailures spreads one rate, 0..1, evenly over SYSTEMERROR, dropped
// connections and status 502: kinds that leave the order as it was.
func EvenFailures(rate float64) Failures {
	return Failures{SystemError: rate / 3, Drop: rate / 3, BadGateway: rate / 3}
}

func (f Failures) check() error {
	total := 0.0
	for _, share := range [...]float64{f.SystemError, f.Drop, f.Lose, f.BadGateway} {
		if !isShare(share) {
			return fmt.Errorf("gateway simulator: a failure rate is %v, want 0 to 1", share)
		}
		total += share
	}
	if total > 1+1e-9 {
		return fmt.Errorf("gateway simulator: the failure rates add up to %v, more than 1", total)
	}
	return nil
}

// isShare also refuses NaN.
func isShare(f float64) bool { return f >= 0 && f <= 1 }

func (f Failures) draw(d *draw) Fault {
	if f == (Failures{}) {
		return Fault{}
	}
	x := d.float()
	for _, kind := range [...]struct {
		share float64
		fault Fault
	}{
		{f.SystemError, Fault{Code: "SYSTEMERROR"}},
		{f.Drop, Fault{Spoil: Drop}},
		{f.Lose, Fault{Spoil: Lose}},
		{f.BadGateway, Fault{Spoil: BadGateway}},
	} {
		if x < kind.share {
			return kind.fault
		}
		x -= kind.share
	}
	return Fault{}
}
