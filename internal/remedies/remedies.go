// Package remedies says what to do about a failed request, by the code of its
// outcome: in one place, so that the log, the commands and the pages say the same.
package remedies

import "github.com/closeorder/closeorder/events"

// Others is for codes that have no remedy of their own.
const Others = "closeorder trace shows the whole life of an order, and the gateway's own words; replay its dead letter when the cause is mended"

// byCode are closeorder's own codes (events.Code..., docs/contract.md) and those of
// the gateway that end a request (docs/verdicts.md).
var byCode = map[string]string{
	events.CodeInvalidRequest:   "the order service sends what is no request: the message names the field; mend it there, the dead letter keeps what was sent",
	events.CodeUnknownMerchant:  "add the merchant to the merchants file of all workers, then closeorder deadletters replay --code UNKNOWN_MERCHANT",
	events.CodeExpired:          "it came too late, or stood too long, by its expires_at: compare that with the lag (closeorder status), and ask again if the order is still to be closed",
	events.CodeRetriesExhausted: "the gateway has answered, and never for good: closeorder trace shows its words; replay when it does",
	events.CodeRecordTooLarge:   "raise max.message.bytes of the topic that the message names, then replay",
	"PARAM_ERROR":               "a field of the request is none for WeChat Pay: closeorder close --explain shows its words; mend it in the order service",
	"ORDERNOTEXIST":             "the gateway does not know the order: look whether appid and mch_id are those that it was created with",
	"APPID_MCHID_NOT_MATCH":     "the appid is not bound to the merchant: set the right one in the merchants file, or in the request",
	"SIGNERROR":                 "the API key is wrong: closeorder doctor --probe, then mend the merchants file",
}

// For returns what to do about a request that has failed with a code, in words.
func For(code string) string {
	if text, known := byCode[code]; known {
		return text
	}
	return Others
}
