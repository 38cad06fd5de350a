package closer

import (
	"strings"
	"testing"
)

func TestIdentify(t *testing.T) {
	directM := Merchant{MchID: "M", AppID: "A"}
	institution := Merchant{MchID: "M", AppID: "A", Institution: true}
	for sentence, tt := range map[string]struct {
		o    Order
		m    Merchant
		want string // in the error; empty for none
	}{
		"the least there can be":                               {Order{MchID: "M", OutTradeNo: "1"}, directM, ""},
		"every character that the gateway documents":           {Order{MchID: "M", OutTradeNo: "aZ09_-|*@"}, directM, ""},
		"a number that is too long is the gateway's to refuse": {Order{MchID: "M", OutTradeNo: strings.Repeat("1", 33)}, directM, ""},
		"characters of three bytes can be sent":                {Order{MchID: "M", OutTradeNo: "单号"}, directM, ""},
		"a character of four bytes cannot":                     {Order{MchID: "M", OutTradeNo: "T\U0001F600"}, directM, "four bytes"},
		"invalid UTF-8 cannot":                                 {Order{MchID: "M", OutTradeNo: "T\xff"}, directM, "not valid UTF-8"},
		"a control character cannot":                           {Order{MchID: "M", OutTradeNo: "T\n1"}, directM, "control character"},
		"a character that XML does not have cannot":            {Order{MchID: "M", OutTradeNo: "T\uFFFF"}, directM, "control character"},
		"out_trade_no is required":                             {Order{MchID: "M"}, directM, "out_trade_no is missing"},
		"an appid is required from somewhere":                  {Order{MchID: "M", OutTradeNo: "1"}, Merchant{MchID: "M"}, "appid is missing"},
		"the order's own appid will do":                        {Order{MchID: "M", OutTradeNo: "1", AppID: "B"}, Merchant{MchID: "M"}, ""},
		"institution mode needs a sub_mch_id":                  {Order{MchID: "M", OutTradeNo: "1"}, institution, "sub_mch_id is missing"},
		"institution mode does not need a sub_appid":           {Order{MchID: "M", OutTradeNo: "1", SubMchID: "S"}, institution, ""},
		"every mistake is named":                               {Order{MchID: "M\x00", OutTradeNo: "\xff"}, institution, "mch_id has the control character U+0000\nsub_mch_id is missing\nout_trade_no is not"},
	} {
		t.Run(sentence, func(t *testing.T) {
			_, err := identify(&tt.o, &tt.m)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
