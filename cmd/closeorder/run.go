package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/merchants"
	"github.com/closeorder/closeorder/internal/topics"
	"github.com/closeorder/closeorder/internal/worker"
	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
)

func (a *app) runCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "run", Short: "Runs the worker", GroupID: "work", Args: noArgs,
		Long: `Serves close requests until SIGTERM or SIGINT. Then no call is started any more,
those in flight get --shutdown-grace to finish, their outcomes are published and
committed, and the group is left at once. A second signal ends it on the spot:
nothing is lost by that, only done again.

With processing_guarantee exactly_once outcomes and offsets are written in
transactions. What the brokers or the ACLs lack for that ends it before it joins
its group; see closeorder topics create and closeorder topics acls.

With --check it examines what closeorder doctor does, and ends without joining
its group: with exit code 1 where it would not be safe to run.

A merchants file is read again when it changes, and on SIGHUP. One with a
mistake in it is refused, and the merchants stay as they were. The files of
kafka.tls and kafka.sasl are read for each new connection; on SIGHUP they are
checked, and all connections are made anew.`,
		Example: `CLOSEORDER_API_KEY=... closeorder run --mch-id 1900000109 --appid wx8888888888888888 --kafka-brokers kafka-1:9092
closeorder run --config closeorder.yaml`,
	}
	check := cmd.Flags().Bool("check", false, "only examine whether it would be safe to run, as closeorder doctor does")
	settings := a.settings(cmd, config.Everything())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *check {
			return a.examine(cmd.Context(), settings, false, false)
		}
		cfg, err := settings.load()
		if err != nil {
			return err
		}
		log := a.logger(cfg.Log)
		deps := worker.Deps{Log: log}
		endTracing, err := a.trace(cmd.Context(), log, &deps)
		if err != nil {
			return err
		}
		defer endTracing()
		// Before a word is said: from the first on somebody may send a SIGHUP.
		hangups := onHangup()
		defer signal.Stop(hangups)
		// First of all where this worker goes: whatever comes behind it may be due
		// to its calling the wrong gateway.
		log.WithFields(logrus.Fields{
			"brokers": cfg.Kafka.Brokers, "group": cfg.Kafka.Group, "requests": cfg.Topics.Requests,
			"outcomes": cfg.Topics.Outcomes, "merchants": len(cfg.Merchants),
			"max_in_flight": cfg.MaxInFlight, "processing_guarantee": cfg.ProcessingGuarantee, "version": builtFrom().Version,
		}).Info("starting: " + callsTo(cfg))
		for _, warning := range cfg.Warnings {
			log.Warn(warning)
		}
		look, err := listenAdmin(cmd.Context(), cfg, log)
		if err != nil {
			return err
		}
		defer look.close()
		if deps.Admin = look.reachable(cmd.Context(), cfg.Kafka.Brokers); deps.Admin != "" {
			log.WithField("admin_addr", deps.Admin).Info("health, metrics and state are served at http://" + deps.Admin + "/statusz, for whoever can reach it")
		}
		a.collect()
		atHangup := func() { log.Info("SIGHUP: there is no merchants file to read again") }
		ctx, cancel := context.WithCancel(cmd.Context())
		var following sync.WaitGroup
		defer following.Wait()
		defer cancel()
		if file := cfg.Followed; file != nil {
			deps.Merchants = file
			report := merchantsReport(file, log)
			atHangup = func() { report(file.Reload()) }
			following.Go(func() {
				if err := file.Watch(ctx, report); err != nil {
					log.WithError(err).Warn("changes of the merchants file are taken up on SIGHUP alone")
				}
			})
		}
		seen := measure(cfg, &deps)
		w, err := worker.New(cfg, deps)
		if err != nil {
			return err
		}
		following.Go(func() { a.warnOfTopics(ctx, cfg, log) })
		following.Go(func() {
			serveHangups(ctx, hangups, func() {
				atHangup()
				if kafkaFilesReport(cfg.Kafka, log) {
					w.Renew()
				}
			})
		})
		defer look.serve(cmd.Context(), w, seen.watch(w))()
		if err := w.Run(cmd.Context()); err != nil {
			return err
		}
		log.Info("stopped: what was finished and could be published is committed, the rest is served again")
		return nil
	}
	return cmd
}

// callsTo says which gateway a worker calls: the base URLs in order, and those
// of merchants that have their own. URLs hold no secret, config sees to that;
// a proxy's may, so that of it only the host is named.
func callsTo(cfg config.Config) string {
	own, hosts := ownHosts(cfg.Merchants)
	text := "calls go to " + strings.Join(cfg.Gateway.URLs, ", then ")
	switch all := len(cfg.Merchants); {
	case own == 0:
	case own == all:
		text = "calls go to the merchants' own hosts: " + hosts
	default:
		text += fmt.Sprintf("; those of %d of %d merchants to hosts of their own: %s", own, all, hosts)
	}
	if proxy, err := url.Parse(cfg.Gateway.Proxy.Reveal()); err == nil && proxy.Host != "" {
		text += "; all through the proxy " + proxy.Host
	}
	return text
}

// ownHosts counts the merchants that have hosts of their own and names some of
// those.
func ownHosts(merchants []closer.Merchant) (count int, some string) {
	const most = 5
	var hosts []string
	for _, m := range merchants {
		if len(m.Hosts) > 0 {
			count++
		}
		for _, host := range m.Hosts {
			if !slices.Contains(hosts, host) {
				hosts = append(hosts, host)
			}
		}
	}
	if more := len(hosts) - most; more > 0 {
		return count, fmt.Sprintf("%s and %d more", strings.Join(hosts[:most], ", "), more)
	}
	return count, strings.Join(hosts, ", ")
}

// onHangup asks for the SIGHUPs of this process, whose default is to end it
// without a drain. One that comes before somebody listens is kept.
func onHangup() chan os.Signal {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	return signals
}

// serveHangups calls do at each SIGHUP until ctx ends.
func serveHangups(ctx context.Context, signals <-chan os.Signal, do func()) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
			do()
		}
	}
}

// kafkaFilesReport says whether the next connection to Kafka can be made with the
// files of TLS and SASL as they are now; each one reads them by itself. It
// returns true where connections should be made anew.
func kafkaFilesReport(k config.Kafka, log logrus.FieldLogger) bool {
	if !k.HasFiles() {
		return false
	}
	if err := k.CheckFiles(); err != nil {
		log.WithError(err).Error("a file of kafka.tls or kafka.sasl is refused: connections to Kafka stay as they are")
		return false
	}
	log.Info("the files of kafka.tls and kafka.sasl are right: connections to Kafka are made anew with them")
	return true
}

// merchantsReport says how reading the merchants file again ended.
func merchantsReport(file *merchants.File, log logrus.FieldLogger) func(error) {
	return func(err error) {
		if err != nil {
			log.WithError(err).Error("merchants file refused: the merchants stay as they were")
			return
		}
		all := file.All()
		log.WithField("merchants", len(all)).Info("merchants file read again")
		if own, hosts := ownHosts(all); own > 0 {
			log.WithField("merchants", own).Info("merchants with hosts of their own: calls go to " + hosts)
		}
		for _, doubt := range config.Doubts(all) {
			log.Warn(doubt)
		}
	}
}

// warnOfTopics looks once at the settings of the topics and warns of those that
// lose requests. It waits for brokers that are away until ctx ends, and tells
// nothing of them: the worker does.
func (a *app) warnOfTopics(ctx context.Context, cfg config.Config, log logrus.FieldLogger) {
	to, err := cfg.Kafka.Client(nil)
	if err != nil {
		return // nor does the worker start
	}
	c := newCluster(to, cfg)
	defer c.close()
	all := cfg.Topics.All()
	settings, err := c.settings(ctx, all, topics.Looked())
	if err != nil && ctx.Err() == nil {
		log.WithError(err).Info("the settings of the topics were not looked at")
	}
	for _, name := range all {
		if risk := topics.Risk(cfg.Topics, name, settings[name]); risk != "" {
			log.WithField("topic", name).Error("ALARM: the settings of a topic lose what is in it: " + risk)
		}
	}
	if c.exactlyOnce {
		c.warnOfTransactions(ctx, log)
	}
	c.tellOfLacks(ctx, log)
}

// tellOfLacks says once what the brokers that are up cannot do, with what the worker
// does instead. That they know no static members is for the member of the group to
// say, when it is about to be one.
func (c *cluster) tellOfLacks(ctx context.Context, log logrus.FieldLogger) {
	for _, l := range topics.Lacks(c.lacking(ctx)) {
		if l.Feature != kafka.StaticMembers {
			log.WithFields(logrus.Fields{"lacks": l.Feature, "remedy": l.WhatToDo()}).Info(l.Heading() + ": " + l.Consequence)
		}
	}
}

// lacking are the features that some broker does not have. Who does not answer is
// left out.
func (c *cluster) lacking(ctx context.Context) (all []kafka.Feature) {
	ctx, cancel := reach(ctx)
	defer cancel()
	layout, err := c.client.Layout(ctx, c.topics.Requests)
	if err != nil {
		return nil
	}
	for _, b := range layout.Brokers {
		if met, err := c.client.Meet(ctx, b.Address); err == nil {
			all = append(all, met.Lacks...)
		}
	}
	return all
}

// warnOfTransactions looks once at what exactly_once needs of the brokers, and
// warns of what is not there.
func (c *cluster) warnOfTransactions(ctx context.Context, log logrus.FieldLogger) {
	is, err := c.stateLog(ctx, func(err error) {
		log.WithError(err).Info("what transactions need of the brokers was not looked at")
	})
	switch {
	case err != nil && ctx.Err() == nil:
		log.WithError(err).Info("what transactions need of the brokers was not looked at")
	case err == nil && is.State == topics.Wrong:
		log.WithField("topic", is.Name).Error("ALARM: the brokers are not fit for exactly_once: " + is.Note)
	}
}
