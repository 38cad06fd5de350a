package metrics

import (
	"cmp"
	"slices"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/events"
)

// ownFailures are the codes with which this worker itself fails requests.
var ownFailures = []string{events.CodeInvalidRequest, events.CodeUnknownMerchant, events.CodeExpired, events.CodeRetriesExhausted, events.CodeRecordTooLarge}

// failures are all of the closer's.
var failures = []closer.Failure{
	closer.FailDNS, closer.FailConnect, closer.FailTimeout, closer.FailLost, closer.FailStatus, closer.FailFormat,
	closer.FailUnsigned, closer.FailSignature, closer.FailIdentity, closer.FailIncomplete, closer.FailBusy,
}

// gatewayCodes are those that closer's tables know, as gateways spell them: with
// and without underscores ("Close Order" and "Query Order" of WeChat Pay V2, and
// what merchants have seen beyond it).
var gatewayCodes = []string{
	"SUCCESS", "FAIL", "UNKNOWN",
	"ORDERCLOSED", "ORDER_CLOSED", "ORDERPAID", "ORDER_PAID", "ORDERNOTEXIST", "ORDER_NOT_EXIST",
	"SYSTEMERROR", "SYSTEM_ERROR", "FREQUENCY_LIMITED", "USERPAYING", "USER_PAYING", "TRADE_STATE_ERROR", "BANKERROR", "BANK_ERROR",
	"BIZERR_NEED_RETRY", "RULELIMIT", "RULE_LIMIT", "RATELIMIT", "RATE_LIMIT",
	"SIGNERROR", "SIGN_ERROR", "APPID_NOT_EXIST", "APPID_MCHID_NOT_MATCH", "NOAUTH", "NO_AUTH", "MCHID_NOT_EXIST", "MCH_NOT_EXISTS", "ACCOUNTERROR", "ACCOUNT_ERROR",
	"XML_FORMAT_ERROR", "REQUIRE_POST_METHOD", "LACK_PARAMS", "PARAM_ERROR", "POST_DATA_EMPTY", "NOT_UTF8", "INVALID_REQUEST",
	"NOTPAY", "REFUND", "CLOSED", "REVOKED", "PAYERROR", "ACCEPT",
}

// ownWaits are the codes with which requests are put off that were not called.
var ownWaits = []string{"NOT_BEFORE", "ORDER_TOO_YOUNG", "MERCHANT_HELD", "MERCHANT_BUSY"}

// knownCodes have their series whatever else comes.
func knownCodes() []string {
	all := slices.Concat(ownFailures, gatewayCodes, ownWaits, []string{
		closer.CodeMerchantIncomplete, closer.CodeUnsignedFail, closer.CodeOwnRate, closer.CodeNotAsked, closer.CodeInterrupted, noCode,
	})
	for _, f := range failures {
		all = append(all, string(f))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// noCode is what has none.
const noCode = "none"

// code is the label of a code.
func (m *Metrics) code(code string) string { return m.codes.of(cmp.Or(code, noCode)) }

func knownFailure(f closer.Failure) closer.Failure {
	if slices.Contains(failures, f) {
		return f
	}
	return other
}
