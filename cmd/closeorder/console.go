package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/closeorder/closeorder/internal/access"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/console"
	"github.com/closeorder/closeorder/internal/database"
	"github.com/closeorder/closeorder/internal/desk"
	"github.com/closeorder/closeorder/internal/index"
	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

func (a *app) consoleCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "console", Short: "The same as web pages: orders, dead letters, replay, audit", GroupID: "look", Args: noArgs,
		Long: `Serves web pages for those who are woken: what happens now, what became of an
order, dead letters and their replay, and whether anything is lost. It reads the
topics like the other commands, and joins no group: workers do not depend on it,
and there may be several, each with a --data-dir of its own; replay from one.

It keeps an index of what the topics say, in one file in --data-dir, or in memory:
a million requests take some 200 MB. It is made of the topics and can be made
again (--rebuild). Replays that were begun, audits, and the log of who did what are
in the same file, and go on after a restart.

Whoever can reach it on the loopback address may do everything. On another one it
listens only where people log in (--auth-file, see closeorder console user) or where
a proxy that is trusted says who they are (--auth-header with --trusted-proxies).
Viewers read; operators replay and audit. What is written to Kafka is replays alone:
topics acls --for console prints what it takes.`,
		Example: `closeorder console
closeorder console --data-dir /var/lib/closeorder --kafka-brokers kafka-1:9092
closeorder console user alice --role operator >> users
closeorder console --addr :8090 --auth-file users --tls-cert-file cert.pem --tls-key-file key.pem`,
	}
	cmd.AddCommand(a.consoleUserCommand())
	rebuild := cmd.Flags().Bool("rebuild", false, "make the index again from the topics")
	settings := a.settings(cmd, []config.Section{config.Connection, config.TopicNames, config.ConsolePages, config.Logging})
	settings.alsoOf(config.Work, "kafka.group", "processing_guarantee")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := settings.load()
		if err != nil {
			return err
		}
		log := a.logger(cfg.Log)
		for _, warning := range cfg.Warnings {
			log.Warn(warning)
		}
		c, err := a.cluster(cfg)
		if err != nil {
			return err
		}
		defer c.close()
		ctx := cmd.Context()
		ln, err := listenConsole(ctx, cfg.Console, log)
		if err != nil {
			return usagef("console.addr %s: %v; choose another with --addr", cfg.Console.Addr, err)
		}
		w, err := a.openConsole(ctx, c, cfg.Console, ln.Addr(), log)
		if err != nil {
			ln.Close()
			return err
		}
		defer w.close()
		if *rebuild {
			w.index.Rebuild()
		}
		fmt.Fprintf(a.stdout, "Console  %s\n", consoleURL(ln, cfg.Console))
		return w.run(ctx, ln)
	}
	return cmd
}

// webConsole is a console and what it is made of.
type webConsole struct {
	db     *database.DB
	index  *index.Index
	desk   *desk.Desk
	server *console.Server
}

// openConsole makes one that may be served at an address; nothing is asked of Kafka.
// Close it to let its file go. A file of users or a folder that cannot be is the fault
// of the settings, a usageError; a database that is held or broken is not.
func (a *app) openConsole(ctx context.Context, c *cluster, cfg config.Console, at net.Addr, log logrus.FieldLogger) (_ *webConsole, err error) {
	w := &webConsole{}
	way := access.Config{
		File: cfg.AuthFile, Header: cfg.AuthHeader, RoleHeader: cfg.AuthRoleHeader, Operators: cfg.AuthOperators, Trusted: cfg.TrustedProxies,
		Secure: cfg.TLSCertFile != "", Log: log,
		OnLogIn: func(ctx context.Context, u access.User, did, detail string) {
			if err := w.desk.Note(ctx, desk.Who{Name: u.Name, Remote: u.Remote}, did, "", "", detail); err != nil {
				log.WithError(err).Error("who logged in was not noted")
			}
		},
	}
	// Before there is a file of it.
	if err = way.Check(at); err != nil {
		return nil, usagef("console.addr %s: %v", cfg.Addr, err)
	}
	w.db, err = database.Open(ctx, cfg.DataDir)
	if _, folder := errors.AsType[*fs.PathError](err); folder {
		return nil, usagef("console.data_dir: %v", err)
	} else if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	reader := c.reader()
	if w.index, err = index.Open(ctx, index.Config{Reader: reader, Topics: c.topics, DB: w.db, Log: log, Keep: cfg.Keep}); err != nil {
		return nil, err
	}
	if w.desk, err = desk.Open(ctx, desk.Config{
		Reader: reader, Writer: c.writer(), Topics: c.topics, Group: c.group, ExactlyOnce: c.exactlyOnce, DB: w.db, Log: log,
	}); err != nil {
		return nil, err
	}
	if warning := way.Warning(at); warning != "" {
		log.Warn(warning)
	}
	way.DB = w.db
	guard, err := access.Open(ctx, way)
	if file, is := errors.AsType[*access.FileError](err); is {
		return nil, usagef("console.auth_file: %v", file)
	} else if err != nil {
		return nil, err
	}
	w.server = console.New(console.Config{
		Index: w.index, Desk: w.desk, Guard: guard, Reader: reader, Topics: c.topics, Group: c.group, Workers: cfg.Workers,
		Build: builtFrom().String(), Log: log,
	})
	return w, nil
}

// run serves on ln until ctx ends; it closes ln.
func (w *webConsole) run(ctx context.Context, ln net.Listener) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return unlessEnded(ctx, w.index.Run(ctx)) })
	group.Go(func() error { return unlessEnded(ctx, w.desk.Run(ctx)) })
	group.Go(func() error { return w.server.Serve(ctx, ln) })
	return group.Wait()
}

// unlessEnded is an error that is not the end of ctx.
func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.Cause(ctx))) {
		return nil
	}
	return err
}

func (w *webConsole) close() { _ = w.db.Close() } // what is in it was committed

// listenConsole listens, by TLS where there is a certificate.
func listenConsole(ctx context.Context, cfg config.Console, log logrus.FieldLogger) (net.Listener, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", cfg.Addr)
	if err != nil {
		return nil, err
	}
	speak := cfg.ServerTLS(func(err error) { log.WithError(err).Error("the console's certificate stays as it was") })
	if speak == nil {
		return ln, nil
	}
	speak.NextProtos = []string{"h2", "http/1.1"}
	return tls.NewListener(ln, speak), nil
}

// consoleURL is where a person on this machine finds it.
func consoleURL(ln net.Listener, cfg config.Console) string {
	scheme := "http://"
	if cfg.TLSCertFile != "" {
		scheme = "https://"
	}
	return scheme + nearby(ln.Addr())
}

// devConsole serves the console of dev until stop is called, on the loopback address
// alone, as it has no log-in. It depends on dev, and dev not on it.
func (a *app) devConsole(ctx context.Context, c *cluster, o devOptions, log logrus.FieldLogger) (url string, stop func(), err error) {
	cfg := config.Console{Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(o.consolePort))}
	if o.dataDir != "" {
		cfg.DataDir = filepath.Join(o.dataDir, "console")
	}
	ln, err := listenConsole(ctx, cfg, log)
	if err != nil && o.anyConsolePort {
		cfg.Addr = "127.0.0.1:0"
		ln, err = listenConsole(ctx, cfg, log)
	}
	if err != nil {
		return "", nil, usagef("console: %v; choose another port with --console-port (0 for any free one)", err)
	}
	w, err := a.openConsole(ctx, c, cfg, ln.Addr(), log)
	if err != nil {
		ln.Close()
		return "", nil, err
	}
	serving, end := context.WithCancel(context.WithoutCancel(ctx))
	var done sync.WaitGroup
	done.Go(func() {
		if err := w.run(serving, ln); err != nil {
			log.WithError(err).Error("the console is served no more: all else goes on")
		}
	})
	return consoleURL(ln, cfg), func() { end(); done.Wait(); w.close() }, nil
}
