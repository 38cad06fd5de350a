package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/merchants"
	"github.com/closeorder/closeorder/internal/worker"
	"github.com/spf13/cobra"
)

func (a *app) closeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "close --mch-id ID --out-trade-no NUMBER",
		Short: "Closes one order directly at the gateway, without Kafka", GroupID: "tool", Args: noArgs,
		Long: `Closes one order at the gateway as the worker would, retries and queries in
place included, and prints the verdict. Nothing is published.

The merchant is the one of the merchants file with that mch_id, or the single
merchant whose key is in CLOSEORDER_API_KEY. Exit code 0: closed or paid; 1: not.`,
		Example: `CLOSEORDER_API_KEY=... closeorder close --mch-id 1900000109 --appid wx8888888888888888 --out-trade-no T1 --explain`,
	}
	var o closer.Order
	var createdAt string
	flags := cmd.Flags()
	flags.StringVar(&o.OutTradeNo, "out-trade-no", "", "`NUMBER` of the order to close (required)")
	flags.StringVar(&o.MchID, "mch-id", "", "merchant `ID` (required)")
	flags.StringVar(&o.AppID, "appid", "", "`ID` (default: the merchant's)")
	flags.StringVar(&o.SubMchID, "sub-mch-id", "", "sub-merchant `ID`, institution mode only")
	flags.StringVar(&o.SubAppID, "sub-appid", "", "`ID`, institution mode only")
	flags.StringVar(&createdAt, "order-created-at", "", "`TIME` at which the order was made (RFC 3339): an old one leaves less doubt")
	explain := flags.Bool("explain", false, "show each call: host, string signed (key masked), reply, and why the verdict")
	asJSON := flags.Bool("json", false, "print JSON")
	settings := a.settings(cmd, []config.Section{config.Calls}, "mch_id", "appid")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkCloseFlags(&o, createdAt); err != nil {
			return err
		}
		cfg, err := settings.loadFor(o.MchID)
		if err != nil {
			return err
		}
		var attempts []closer.Attempt
		c, err := worker.NewCloser(cfg, worker.Deps{Observe: func(_ context.Context, one closer.Attempt) { attempts = append(attempts, one) }})
		if err != nil {
			return err
		}
		defer c.CloseIdleConnections()
		verdict := c.Close(cmd.Context(), o)
		if *asJSON {
			err = a.printVerdictJSON(o, verdict, attempts, *explain)
		} else {
			if *explain {
				a.printAttempts(attempts, len(cfg.Merchants[0].Keys))
			}
			a.printVerdict(o, verdict)
		}
		if err == nil && verdict.Class != closer.Closed && verdict.Class != closer.Paid {
			return errBadNews
		}
		return err
	}
	return cmd
}

func checkCloseFlags(o *closer.Order, createdAt string) error {
	var missing []string
	if o.MchID == "" {
		missing = append(missing, "--mch-id")
	}
	if o.OutTradeNo == "" {
		missing = append(missing, "--out-trade-no")
	}
	if len(missing) > 0 {
		return usagef("%s must be given", strings.Join(missing, " and "))
	}
	for _, f := range []struct {
		flag, value string
		check       func(string) error
	}{
		{"--appid", o.AppID, merchants.CheckAppID}, {"--sub-mch-id", o.SubMchID, merchants.CheckMchID}, {"--sub-appid", o.SubAppID, merchants.CheckAppID},
	} {
		if f.value == "" {
			continue
		}
		if err := f.check(f.value); err != nil {
			return usagef("%s %v", f.flag, err)
		}
	}
	if createdAt != "" {
		t, err := parseRFC3339(createdAt)
		if err != nil {
			return usagef("--order-created-at: %q is no time such as 2026-01-31T08:00:00+08:00", createdAt)
		}
		o.CreatedAt = t
	}
	return nil
}

// parseRFC3339 reads a time as RFC 3339 has it: also with a blank for the T, as
// databases print it, and in small letters.
func parseRFC3339(s string) (time.Time, error) {
	s = strings.ToUpper(strings.TrimSpace(s))
	if day, clock, ok := strings.Cut(s, " "); ok {
		s = day + "T" + clock
	}
	return time.Parse(time.RFC3339, s)
}

// verdictLine is a verdict as JSON; names as in an outcome.
type verdictLine struct {
	OutTradeNo    string            `json:"out_trade_no"`
	MchID         string            `json:"mch_id"`
	Class         closer.Class      `json:"class"`
	Code          string            `json:"code,omitempty"`
	Message       string            `json:"message,omitempty"`
	SafeToReissue bool              `json:"safe_to_reissue"`
	ConfirmedBy   string            `json:"confirmed_by,omitempty"`
	Attempts      int               `json:"attempts"`
	Gateway       map[string]string `json:"gateway,omitempty"`
	Explain       []attemptLine     `json:"explain,omitempty"`
}

type attemptLine struct {
	Number int               `json:"number"`
	Call   closer.Call       `json:"call"`
	Host   string            `json:"host"`
	Took   string            `json:"took"`
	Key    int               `json:"key"`
	Signed string            `json:"signed"`
	Status int               `json:"status,omitempty"`
	Reply  map[string]string `json:"reply,omitempty"`
	// Verified: the reply has a signature that is right.
	Verified bool         `json:"verified"`
	Body     string       `json:"body,omitempty"`
	Class    closer.Class `json:"class"`
	Code     string       `json:"code,omitempty"`
	Reason   string       `json:"reason,omitempty"`
	Wait     string       `json:"wait,omitempty"`
}

func (a *app) printVerdictJSON(o closer.Order, v closer.Verdict, attempts []closer.Attempt, explain bool) error {
	line := verdictLine{
		OutTradeNo: o.OutTradeNo, MchID: o.MchID, Class: v.Class, Code: v.Code, Message: v.Message,
		SafeToReissue: v.SafeToReissue, ConfirmedBy: v.ConfirmedBy, Attempts: v.Calls, Gateway: map[string]string{},
	}
	for _, f := range evidence(v.Gateway) {
		line.Gateway[f[0]] = f[1]
	}
	if explain {
		for _, one := range attempts {
			l := attemptLine{
				Number: one.Number, Call: one.Call, Host: one.Host, Took: rounded(one.Duration), Key: one.Key, Signed: one.Signed(),
				Status: one.Status, Reply: one.Reply, Verified: one.Verified, Body: one.Body, Class: one.Class, Code: one.Code, Reason: reason(one),
			}
			if one.Wait > 0 {
				l.Wait = rounded(one.Wait)
			}
			line.Explain = append(line.Explain, l)
		}
	}
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(line)
}

// proof says whether a reply can be believed, for a merchant of so many keys:
// while a key is being changed the gateway may sign with either.
func proof(one closer.Attempt, keys int) string {
	switch {
	case one.Verified && keys == 1:
		return "verified with key 1"
	case one.Verified:
		return fmt.Sprintf("verified with one of the merchant's %d keys", keys)
	case one.Failure == closer.FailUnsigned:
		return "there is none: the reply proves nothing"
	case one.Failure == closer.FailSignature:
		return "not right: the reply proves nothing"
	case one.Reply["return_code"] == "FAIL":
		return "there is none, as with every return_code FAIL: a hint, no proof"
	}
	return "not checked: the reply is none"
}

func (a *app) printAttempts(attempts []closer.Attempt, keys int) {
	for _, one := range attempts {
		fmt.Fprintf(a.stdout, "call %d: %s at %s, %s, signed with key %d\n", one.Number, one.Call, one.Host, rounded(one.Duration), one.Key)
		rows := [][]string{{"  signed", one.Signed()}}
		switch {
		case len(one.Reply) > 0:
			for _, name := range slices.Sorted(maps.Keys(one.Reply)) {
				rows = append(rows, []string{"  reply", cell(name) + " = " + cell(one.Reply[name])})
			}
			rows = append(rows, []string{"  sign", proof(one, keys)})
		case one.Body != "":
			rows = append(rows, []string{"  reply", strconv.Quote(one.Body)})
		case one.Status != 0:
			rows = append(rows, []string{"  reply", "HTTP status " + strconv.Itoa(one.Status)})
		}
		rows = append(rows, []string{"  means", cell(join(one.Class.String()+" "+one.Code, reason(one)))})
		if one.Wait > 0 {
			rows = append(rows, []string{"  then", "wait " + rounded(one.Wait) + ", call again"})
		}
		whole(a.stdout, rows)
		fmt.Fprintln(a.stdout)
	}
}

func (a *app) printVerdict(o closer.Order, v closer.Verdict) {
	class := v.Class.String()
	reissue := "no"
	if v.SafeToReissue {
		reissue = "yes"
	}
	rows := [][]string{
		{"verdict", a.paint(a.stdout).result(events.Result(class), class)},
		{"out_trade_no", o.OutTradeNo}, {"mch_id", o.MchID},
	}
	for _, f := range [][2]string{{"code", v.Code}, {"message", v.Message}, {"confirmed_by", v.ConfirmedBy}} {
		if f[1] != "" {
			rows = append(rows, []string{f[0], cell(f[1])})
		}
	}
	rows = append(rows, []string{"safe_to_reissue", reissue}, []string{"calls", strconv.Itoa(v.Calls)})
	for _, f := range evidence(v.Gateway) {
		rows = append(rows, []string{"gateway " + f[0], cell(f[1])})
	}
	whole(a.stdout, rows)
}

// evidence lists what the gateway said, as far as it said anything.
func evidence(e closer.Evidence) [][2]string {
	fee := ""
	if e.TotalFee != 0 {
		fee = strconv.FormatInt(e.TotalFee, 10)
	}
	all := [][2]string{
		{"host", e.Host}, {"return_code", e.ReturnCode}, {"return_msg", e.ReturnMsg}, {"result_code", e.ResultCode},
		{"err_code", e.ErrCode}, {"err_code_des", e.ErrCodeDes}, {"trade_state", e.TradeState},
		{"transaction_id", e.TransactionID}, {"total_fee", fee}, {"time_end", e.TimeEnd},
	}
	return slices.DeleteFunc(all, func(f [2]string) bool { return f[1] == "" })
}

func reason(one closer.Attempt) string {
	if one.Err != nil {
		return join(one.Reason, one.Err.Error())
	}
	return one.Reason
}

func rounded(d time.Duration) string {
	if d > time.Second {
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(100 * time.Microsecond).String()
}
