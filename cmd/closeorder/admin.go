package main

import (
	"context"
	"net"
	"net/http"
	"sync"

	"github.com/closeorder/closeorder/internal/admin"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/worker"
	"github.com/sirupsen/logrus"
)

// adminListener is where a worker can be looked at: the setting admin_addr. Without
// a listener it serves nothing.
type adminListener struct {
	ln     net.Listener
	recent *admin.Recent
	log    *logrus.Logger
}

// listenAdmin listens before there is a worker: what is wrong with the address
// ends the start, and the group is told where it is.
func listenAdmin(ctx context.Context, cfg config.Config, log *logrus.Logger) (*adminListener, error) {
	l := &adminListener{recent: &admin.Recent{}, log: log}
	if cfg.AdminAddr == "" {
		return l, nil
	}
	ln, err := admin.Listen(ctx, cfg.AdminAddr)
	if err != nil {
		return nil, usagef("%v", err)
	}
	log.AddHook(l.recent)
	l.ln = ln
	return l, nil
}

// reachable is how others reach it, empty where it serves nothing.
func (l *adminListener) reachable(ctx context.Context, brokers []string) string {
	if l.ln == nil {
		return ""
	}
	return admin.Reachable(ctx, l.ln, brokers)
}

// url is where a person on this machine finds it, empty where it serves nothing.
func (l *adminListener) url() string {
	if l.ln == nil {
		return ""
	}
	return "http://" + nearby(l.ln.Addr())
}

// serve answers for w until stop is called: when the worker has run, as it can be
// looked at while it drains. From the end of ctx on it says that it stops. metrics
// may be nil.
func (l *adminListener) serve(ctx context.Context, w *worker.Worker, metrics http.Handler) (stop func()) {
	if l.ln == nil {
		return func() {}
	}
	s := admin.New(admin.Config{State: w.State, Hosts: w.Hosts, Recent: l.recent, Metrics: metrics, Build: builtFrom().String()})
	forget := context.AfterFunc(ctx, s.Stopping)
	serving, end := context.WithCancel(context.WithoutCancel(ctx))
	var done sync.WaitGroup
	done.Go(func() {
		if err := s.Serve(serving, l.ln); err != nil {
			l.log.WithError(err).Error("health, metrics and state are served no more: the worker goes on")
		}
	})
	return func() { forget(); end(); done.Wait() }
}

// close ends a listener that nobody serves.
func (l *adminListener) close() {
	if l.ln != nil {
		l.ln.Close()
	}
}
