package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/requestfile"
	"github.com/spf13/cobra"
)

// requestSource is the ce_source of requests that this command sends.
const requestSource = "/closeorder/request"

// publishChunk is how many requests are handed to the writer at one time.
const publishChunk = 5000

type requestOptions struct {
	fields            map[string]*string // by name of the field
	file              string
	keepGoing, dryRun bool
	wait, json        bool
	timeout           time.Duration
}

func (a *app) requestCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "request", Short: "Publishes close requests, and waits for their outcomes", GroupID: "look", Args: noArgs,
		Long: `Publishes close requests: one from flags, or many from a file or standard
input, as CSV with a header row or as JSON objects line by line. With many, the
flags fill in what a line leaves out.

The key of each is its out_trade_no, and the partition the one that Java's
clients choose for it (murmur2). If your order service publishes with another
client, see which one that chooses: docs/contract.md, topics and keys.

Every line is checked first. If some are not valid, the first 20 of them are
named and nothing is published, unless --keep-going is given.

With --wait the outcomes are printed as they come. Exit code 0: all requests
were answered, each with closed or paid; 1: some failed, had no answer in time or
were not valid; 2: wrong usage, or an input that cannot be read at all.

With --dry-run --json the values that would be published are printed. Of
--keep-going they are those of the valid lines.`,
		Example: `closeorder request --mch-id 1900000109 --out-trade-no T1 --wait
closeorder request --mch-id 1900000109 --reason payment_timeout --file orders.csv
jq -c '{mch_id, out_trade_no}' orders.json | closeorder request --wait --json`,
	}
	o := requestOptions{fields: map[string]*string{}}
	what := map[string]string{
		"out_trade_no": "`NUMBER` of the order to close", "mch_id": "merchant `ID`",
		"appid": "`ID` (default: the merchant's)", "sub_mch_id": "sub-merchant `ID`, institution mode only", "sub_appid": "`ID`, institution mode only",
		"request_id": "`ID` of the request, echoed (default: a new one)", "reason": "`TEXT`: payment_failed, payment_timeout or free text",
		"order_created_at": "`TIME` at which the order was made (RFC 3339)", "not_before": "hold the request back until this `TIME` (RFC 3339)",
		"expires_at":               "give the request up at this `TIME` (RFC 3339)",
		"replacement_out_trade_no": "`NUMBER` that the shop wants to issue next, echoed", "metadata": "any `JSON` object up to 4 KiB, echoed",
	}
	flags := cmd.Flags()
	for _, name := range requestfile.Fields {
		o.fields[name] = flags.String(strings.ReplaceAll(name, "_", "-"), "", what[name])
	}
	flags.StringVarP(&o.file, "file", "f", "", "`FILE` of requests, CSV or JSON lines; - is standard input")
	flags.BoolVar(&o.keepGoing, "keep-going", false, "publish the valid lines even if others are not")
	flags.BoolVar(&o.dryRun, "dry-run", false, "check, and publish nothing; with --json print what would be published")
	flags.BoolVar(&o.wait, "wait", false, "wait for the outcomes and print them")
	flags.DurationVar(&o.timeout, "timeout", time.Minute, "with --wait: how long after publishing")
	flags.BoolVar(&o.json, "json", false, "print JSON lines")
	settings := a.settings(cmd, []config.Section{config.Connection, config.TopicNames})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var wrong misuse
		wrong.must(o.timeout > 0, "--timeout must be more than 0")
		cfg, err := settings.load()
		wrong.add(err)
		requests, bad, err := a.readRequests(o)
		wrong.add(err)
		if err := wrong.err(); err != nil {
			return err
		}
		// A name of its own for each request that brings none tells its outcome
		// from those of earlier requests for the same order.
		for i := range requests {
			if requests[i].RequestID == "" {
				requests[i].RequestID = rand.Text()
			}
		}
		if o.dryRun {
			err = a.printRequests(requests, o.json)
		} else {
			err = a.publishRequests(cmd.Context(), cfg, o, requests)
		}
		if err == nil && bad {
			err = errBadNews
		}
		return err
	}
	return cmd
}

// readRequests returns the requests to publish. bad: some lines were not
// valid, were named, and may be left out.
func (a *app) readRequests(o requestOptions) (requests []events.Request, bad bool, err error) {
	fields := map[string]string{}
	for name, value := range o.fields {
		if *value != "" {
			fields[name] = *value
		}
	}
	if fields["out_trade_no"] != "" {
		if o.file != "" {
			return nil, false, usagef("--out-trade-no is one request and --file is many; give one of them")
		}
		r, err := requestfile.Request(fields)
		if err != nil {
			return nil, false, usagef("the request is not valid: %v", err)
		}
		return []events.Request{r}, false, nil
	}
	var wrong misuse
	for _, f := range requestfile.Check(fields) {
		wrong.addf("--%s: %s", strings.ReplaceAll(f.Field, "_", "-"), f.Problem)
	}
	if err := wrong.err(); err != nil {
		return nil, false, err
	}
	if o.file == "" && isTerminal(a.stdin) {
		return nil, false, usagef("give --out-trade-no and --mch-id for one request, or --file for many")
	}
	in, name, err := a.open(cmp.Or(o.file, "-"))
	if err != nil {
		return nil, false, usagef("--file: %v", err)
	}
	defer in.Close()
	parsed, err := requestfile.Parse(in, fields)
	switch {
	case err != nil:
		return nil, false, usagef("%s: %v", name, err)
	case parsed.Total() == 0:
		return nil, false, usagef("%s holds no request", name)
	case len(parsed.Bad) > 0:
		a.printBad(name, parsed, o)
		if !o.keepGoing {
			return nil, true, errBadNews
		}
	}
	return parsed.Requests, len(parsed.Bad) > 0, nil
}

// printBad names what is wrong, the first lines of it.
func (a *app) printBad(name string, p *requestfile.File, o requestOptions) {
	verdict := "nothing was published"
	switch {
	case o.keepGoing && len(p.Requests) == 0:
		verdict = "there is none to publish"
	case o.keepGoing && o.dryRun:
		verdict = "the others would be published"
	case o.keepGoing:
		verdict = "the others are published"
	}
	are := "are"
	if len(p.Bad) == 1 {
		are = "is"
	}
	fmt.Fprintf(a.stderr, "closeorder: %s: %d of %s %s not valid; %s\n", name, len(p.Bad), count(p.Total(), "request"), are, verdict)
	a.printSome(20, len(p.Bad), func(i int) string { return fmt.Sprintf("line %d: %s", p.Bad[i].Line, cell(p.Bad[i].Err.Error())) })
	switch {
	case o.keepGoing:
	case len(p.Requests) == 0:
		fmt.Fprintln(a.stderr, "Mend these lines.")
	default:
		fmt.Fprintln(a.stderr, "Mend these lines, or publish the others with --keep-going.")
	}
}

// printRequests says what would be published, as JSON the values of the records.
func (a *app) printRequests(requests []events.Request, asJSON bool) error {
	fmt.Fprintf(a.stderr, "closeorder: %s valid; nothing was published\n", count(len(requests), "request"))
	if !asJSON {
		return nil
	}
	out := escaped{a.stdout}
	for _, r := range requests {
		m, err := events.EncodeRequest(r, requestSource, time.Now())
		if err != nil {
			return err
		}
		if _, err := out.Write(append(m.Value, '\n')); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) publishRequests(ctx context.Context, cfg config.Config, o requestOptions, requests []events.Request) error {
	c, err := a.cluster(cfg)
	if err != nil {
		return err
	}
	defer c.close()
	topics := []string{cfg.Topics.Requests}
	if o.wait {
		topics = append(topics, cfg.Topics.Outcomes)
	}
	if err := c.exist(ctx, topics...); err != nil {
		return fmt.Errorf("nothing was published: %w", err)
	}
	var waiting *waiter
	if o.wait {
		if waiting, err = a.newWaiter(ctx, c, cfg.Topics.Outcomes, requests, o.json); err != nil {
			return fmt.Errorf("nothing was published: %w", err)
		}
	}
	bar := a.progress("publishing", int64(len(requests)))
	defer bar.finish()
	published, refused := 0, []refusedRequest{}
	for start := 0; start < len(requests); start += publishChunk {
		chunk := requests[start:min(start+publishChunk, len(requests))]
		results, err := c.publish(ctx, cfg.Topics.Requests, chunk, bar)
		if err != nil {
			return err
		}
		var failure error
		for i, r := range results {
			var never *kafka.RefusedError
			switch {
			case r.Err == nil:
				published++
			case errors.As(r.Err, &never):
				refused = append(refused, refusedRequest{chunk[i], never})
			default:
				failure = cmp.Or(failure, r.Err)
			}
		}
		if failure != nil {
			return unpublished(published, len(requests), failure)
		}
	}
	bar.finish()
	a.printRefused(refused)
	if waiting != nil {
		for _, r := range refused {
			waiting.forget(r.request)
		}
		err = waiting.wait(ctx, o.timeout)
	} else {
		err = a.reportPublished(cfg.Topics.Requests, published, o.json)
	}
	if err == nil && len(refused) > 0 {
		err = errBadNews
	}
	return err
}

// unpublished says how far a publishing came that failed. A topic that is not
// there took nothing; what else failed may have been written all the same.
func unpublished(published, total int, failure error) error {
	switch _, certain := errors.AsType[*kafka.MissingTopicsError](failure); {
	case certain && published == 0:
		return fmt.Errorf("nothing was published: %w", failure)
	case certain:
		return fmt.Errorf("%d of %s published, the others were not: %w", published, count(total, "request"), failure)
	}
	return fmt.Errorf("%d of %s published for certain, more of them perhaps: %w", published, count(total, "request"), failure)
}

// refusedRequest is a request that the topic never takes.
type refusedRequest struct {
	request events.Request
	err     error
}

// printRefused names what was not published, the first of it.
func (a *app) printRefused(refused []refusedRequest) {
	if len(refused) > 0 {
		fmt.Fprintf(a.stderr, "closeorder: %s not published, and never can be as it is:\n", count(len(refused), "request"))
	}
	a.printSome(20, len(refused), func(i int) string {
		r := refused[i]
		return fmt.Sprintf("%s of merchant %s: %v", cell(r.request.OutTradeNo), cell(r.request.MchID), r.err)
	})
}

// printSome prints the first of n lines on standard error, and counts the
// others.
func (a *app) printSome(most, n int, line func(i int) string) {
	for i := range min(n, most) {
		fmt.Fprintf(a.stderr, "  %s\n", line(i))
	}
	if n > most {
		fmt.Fprintf(a.stderr, "  and %d more\n", n-most)
	}
}

func (c *cluster) publish(ctx context.Context, topic string, requests []events.Request, bar *progress) ([]kafka.Result, error) {
	now := time.Now()
	messages := make([]events.Message, len(requests))
	for i, r := range requests {
		m, err := events.EncodeRequest(r, requestSource, now)
		if err != nil {
			return nil, err
		}
		messages[i] = m
	}
	// A cluster that takes nothing is given up, a slow one is not.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stuck := time.AfterFunc(reachTimeout, func() { cancel(errUnreached) })
	defer stuck.Stop()
	w := c.writer()
	w.OnWritten = func(n int) {
		stuck.Reset(reachTimeout)
		bar.add(n)
	}
	results, _ := w.Write(ctx, topic, messages) // the error is one of theirs
	return results, nil
}

func (a *app) reportPublished(topic string, requests int, asJSON bool) error {
	if asJSON {
		_, err := fmt.Fprintf(a.stdout, `{"published":%d,"topic":%q}`+"\n", requests, topic)
		return err
	}
	_, err := fmt.Fprintf(a.stdout, "published %s to %s; follow the outcomes with: closeorder outcomes\n", count(requests, "request"), topic)
	return err
}

// count writes a number of things: 1 request, 2 requests.
func count(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}
