package doctor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/closeorder/closeorder/internal/kafka"
)

// CheckToken is the check of what OAUTHBEARER authenticates with.
const CheckToken = "sasl-token"

// token says how long the token holds. That brokers do not take it, or that none
// comes, is said of the brokers that cannot be reached.
func (p *patient) token(ctx context.Context) []Finding {
	sasl := p.cfg.Kafka.SASL
	if !sasl.UsesTokens() {
		return nil
	}
	subject := sasl.TokenSetting()
	until, err := sasl.CheckToken(ctx)
	if err != nil {
		f := Finding{Danger, CheckToken, subject, err.Error(), "see kafka.sasl"}
		if none, is := errors.AsType[*kafka.NoTokenError](err); is {
			f.Remedy = none.Remedy
		}
		return []Finding{f}
	}
	return []Finding{aboutToken(until, subject, sasl.RenewsTokens(), time.Now())}
}

// aboutToken judges how long a token holds; zero is not known.
func aboutToken(until time.Time, subject string, renewed bool, now time.Time) Finding {
	f := Finding{OK, CheckToken, subject, "the brokers take it; it does not say when it ends", ""}
	if !until.IsZero() {
		f.Evidence = fmt.Sprintf("the brokers take it; it holds until %s", until.UTC().Format(time.RFC3339))
	}
	if !renewed && !until.IsZero() && until.Sub(now) < renewWithin {
		f.Severity, f.Remedy = Warning, "a worker that runs has no other: set kafka.sasl.token_file, which is read for each connection, or kafka.sasl.token_url"
	}
	return f
}
