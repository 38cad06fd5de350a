package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// postgres is one server for all tests: that of CLOSEORDER_SHOP_POSTGRES
// (postgres://...), else one of Debian's that the tests start.
var postgres server

type server struct {
	once   sync.Once
	url    *url.URL
	stop   func()
	reason string // why there is none
}

// postgresDatabase makes a database of its own, and returns its URL. Where there
// is no PostgreSQL the test is left out, and fails in CI.
func postgresDatabase(t *testing.T) string {
	t.Helper()
	postgres.once.Do(postgres.start)
	if postgres.reason != "" {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no PostgreSQL: %s", postgres.reason)
		}
		t.Skipf("no PostgreSQL: %s", postgres.reason)
	}
	db, err := sql.Open("pgx", postgres.url.String())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	name := "shop_" + strings.ToLower(rand.Text()[:12])
	if _, err := db.ExecContext(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	own := *postgres.url
	own.Path = "/" + name
	return own.String()
}

func (s *server) start() {
	given := os.Getenv("CLOSEORDER_SHOP_POSTGRES")
	if given != "" {
		u, err := url.Parse(given)
		if err != nil {
			s.reason = "CLOSEORDER_SHOP_POSTGRES is no URL"
			return
		}
		s.url = u
		return
	}
	if err := s.startDebians(); err != nil {
		s.reason = err.Error() + "; install Debian's package postgresql, or name a server with CLOSEORDER_SHOP_POSTGRES"
	}
}

func (s *server) startDebians() error {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return errors.New("there is no /usr/lib/postgresql/*/bin/initdb")
	}
	slices.Sort(found)
	bin := filepath.Dir(found[len(found)-1])
	// Short, as the path of a socket has at most 107 bytes.
	folder, err := os.MkdirTemp("/tmp", "shop-pg")
	if err != nil {
		return err
	}
	attributes := &syscall.SysProcAttr{}
	if os.Geteuid() == 0 { // as root it refuses to run
		who, err := user.Lookup("postgres")
		if err != nil {
			who, err = user.Lookup("nobody")
		}
		if err != nil {
			return err
		}
		uid, _ := strconv.Atoi(who.Uid)
		gid, _ := strconv.Atoi(who.Gid)
		attributes.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(folder, uid, gid); err != nil {
			return err
		}
	}
	command := func(name string, args ...string) *exec.Cmd {
		c := exec.CommandContext(context.Background(), filepath.Join(bin, name), args...)
		c.SysProcAttr, c.Dir = attributes, folder
		return c
	}
	data := filepath.Join(folder, "data")
	if out, err := command("initdb", "-D", data, "-U", "shop", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C").CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	log, err := os.Create(filepath.Join(folder, "log"))
	if err != nil {
		return err
	}
	run := command("postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off")
	run.Stdout, run.Stderr = log, log
	if err := run.Start(); err != nil {
		return err
	}
	s.stop = func() {
		_ = run.Process.Signal(syscall.SIGQUIT) // at once: nothing of it is wanted again
		_ = run.Wait()
		_ = log.Close()
		_ = os.RemoveAll(folder)
	}
	s.url = &url.URL{Scheme: "postgres", User: url.User("shop"), Path: "/postgres", RawQuery: url.Values{"host": {folder}}.Encode()}
	db, err := sql.Open("pgx", s.url.String())
	if err != nil {
		return err
	}
	defer db.Close()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if err := db.PingContext(context.Background()); err == nil {
			return nil
		} else if time.Now().After(deadline) {
			return fmt.Errorf("postgres did not start: %w", err)
		}
	}
}
