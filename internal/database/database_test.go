package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

func open(t *testing.T, dir string) *DB {
	t.Helper()
	db, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

var notes = Part{Name: "notes", Version: 1, Schema: `CREATE TABLE notes_all (id INTEGER PRIMARY KEY, text TEXT) STRICT`}

func exec(t *testing.T, db *DB, statement string, args ...any) {
	t.Helper()
	if _, err := db.Write.ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, db *DB, table string) (n int) {
	t.Helper()
	if err := db.Read.QueryRowContext(t.Context(), `SELECT count(*) FROM `+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestDatabase(t *testing.T) {
	for name, dir := range map[string]func(t *testing.T) string{
		"in a folder with a name like a query": func(t *testing.T) string { return filepath.Join(t.TempDir(), "a b%20c#d?e=f", "new") },
		"in memory":                            func(*testing.T) string { return "" },
	} {
		t.Run(name, func(t *testing.T) {
			dir := dir(t)
			db := open(t, dir)
			fresh, err := db.Make(t.Context(), notes)
			if err != nil || !fresh {
				t.Fatalf("fresh %v, %v", fresh, err)
			}
			exec(t, db, `INSERT INTO notes_all (text) VALUES ('one')`)
			if _, err := db.Read.ExecContext(t.Context(), `DELETE FROM notes_all`); err == nil {
				t.Error("a reader wrote")
			}
			other := open(t, "")
			if _, err := other.Make(t.Context(), notes); err != nil || count(t, other, "notes_all") != 0 {
				t.Errorf("another database in memory is the same one: %v", err)
			}
			if size, err := db.Size(t.Context()); err != nil || size < 4096 {
				t.Errorf("size %d, %v", size, err)
			}
			if err := db.Checkpoint(t.Context()); err != nil {
				t.Error(err)
			}
			if fresh, err := db.Make(t.Context(), notes); err != nil || fresh || count(t, db, "notes_all") != 1 {
				t.Errorf("made once more: fresh %v, %v, %d rows", fresh, err, count(t, db, "notes_all"))
			}
			if err := db.Drop(t.Context(), notes); err != nil || count(t, db, "notes_all") != 0 {
				t.Errorf("dropped: %v, %d rows", err, count(t, db, "notes_all"))
			}
			if dir == "" {
				return
			}
			if info, err := os.Stat(filepath.Join(dir, Name)); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
				t.Errorf("%v, %v", info.Mode(), err)
			}
			if entries, _ := os.ReadDir(filepath.Dir(dir)); len(entries) != 1 {
				t.Errorf("beside the folder there is %v", entries)
			}
			exec(t, db, `INSERT INTO notes_all (text) VALUES ('two')`)
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			if again := open(t, dir); count(t, again, "notes_all") != 1 {
				t.Error("what was written is gone")
			}
		})
	}
}

func TestPartOfAnotherVersion(t *testing.T) {
	migrate := func(ctx context.Context, tx *sql.Tx, from int) error {
		if from != 1 {
			return errors.New("from where?")
		}
		_, err := tx.ExecContext(ctx, `ALTER TABLE notes_all ADD COLUMN who TEXT`)
		return err
	}
	dir := t.TempDir()
	db := open(t, dir)
	longer := Part{Name: "notes_longer", Version: 1, Schema: `CREATE TABLE notes_longer_all (id INTEGER) STRICT`}
	for _, part := range []Part{notes, {Name: "note", Version: 1, Schema: `CREATE TABLE note_all (id INTEGER) STRICT`}} {
		if _, err := db.Make(t.Context(), part); err != nil {
			t.Fatal(err)
		}
	}
	exec(t, db, `INSERT INTO notes_all (text) VALUES ('one')`)
	exec(t, db, `INSERT INTO note_all VALUES (1)`)

	later := notes
	later.Version, later.Migrate = 2, migrate
	if fresh, err := db.Make(t.Context(), later); err != nil || fresh || count(t, db, "notes_all WHERE who IS NULL") != 1 {
		t.Errorf("migrated: fresh %v, %v", fresh, err)
	}
	earlier := notes
	earlier.Migrate = migrate
	if _, err := db.Make(t.Context(), earlier); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, Name)+" was written by a later closeorder") {
		t.Errorf("an earlier closeorder: %v", err)
	}
	if count(t, db, "notes_all") != 1 {
		t.Error("an earlier closeorder has taken rows away")
	}
	if fresh, err := db.Make(t.Context(), notes); err != nil || !fresh || count(t, db, "notes_all") != 0 {
		t.Errorf("without Migrate: fresh %v, %v", fresh, err)
	}
	if count(t, db, "note_all") != 1 {
		t.Error("another part was dropped with it")
	}
	broken := longer
	broken.Schema += `; CREATE nonsense`
	if _, err := db.Make(t.Context(), broken); err == nil {
		t.Error("a schema that is none")
	}
	if fresh, err := db.Make(t.Context(), longer); err != nil || !fresh {
		t.Errorf("what failed has left something: fresh %v, %v", fresh, err)
	}
}

// A writer in the middle of a transaction keeps nobody from reading a file.
func TestReadersDoNotWaitForAWriter(t *testing.T) {
	db := open(t, t.TempDir())
	if _, err := db.Make(t.Context(), notes); err != nil {
		t.Fatal(err)
	}
	tx, err := db.Write.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), `INSERT INTO notes_all (text) VALUES ('not yet')`); err != nil {
		t.Fatal(err)
	}
	if n := count(t, db, "notes_all"); n != 0 {
		t.Errorf("a reader sees %d rows that are not committed", n)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if n := count(t, db, "notes_all"); n != 1 {
		t.Errorf("a reader sees %d rows", n)
	}
}

// In memory readers and the writer take turns, and all come to theirs.
func TestReadersAndWriterInMemory(t *testing.T) {
	db := open(t, "")
	if _, err := db.Make(t.Context(), notes); err != nil {
		t.Fatal(err)
	}
	const rows, looks = 200, 50
	var all sync.WaitGroup
	for range readers {
		all.Go(func() {
			last := 0
			for range looks {
				var n int
				if err := db.Read.QueryRowContext(t.Context(), `SELECT count(*) FROM notes_all`).Scan(&n); err != nil || n < last {
					t.Errorf("%d rows after %d, %v", n, last, err)
					return
				}
				last = n
			}
		})
	}
	for range rows {
		exec(t, db, `INSERT INTO notes_all (text) VALUES ('one')`)
	}
	all.Wait()
	if n := count(t, db, "notes_all"); n != rows {
		t.Errorf("%d rows", n)
	}
}

func TestWhatIsWrongWithAFileIsSaid(t *testing.T) {
	for name, c := range map[string]struct {
		file string // what stands in it
		want string
	}{
		"no database":                        {strings.Repeat("this is a letter. ", 500), "the file is damaged, or no database"},
		"the database of some other program": {otherProgram(t), "is the database of another program; choose another folder with --data-dir"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, Name)
			if err := os.WriteFile(path, []byte(c.file), 0o600); err != nil {
				t.Fatal(err)
			}
			db, err := Open(t.Context(), dir)
			if err == nil {
				db.Close()
				t.Fatal("it was opened")
			}
			if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
			if now, _ := os.ReadFile(path); string(now) != c.file {
				t.Error("the file was changed")
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			open(t, dir) // the lock was given back
		})
	}
}

func otherProgram(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "other.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), `CREATE TABLE accounts (id INTEGER)`); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestADamagedPageIsSaid(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	if _, err := db.Make(t.Context(), notes); err != nil {
		t.Fatal(err)
	}
	exec(t, db, `INSERT INTO notes_all (text) WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n LIMIT 400) SELECT printf('%0500d', value) FROM n`)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, Name)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 5 * 4096; i < len(content); i++ {
		content[i] = 0xa5
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir)
	_, err = again.Write.ExecContext(t.Context(), `UPDATE notes_all SET text = text || '.'`)
	err = again.Explain(err)
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "is damaged") || !strings.Contains(err.Error(), "the log of who did what is only in there") {
		t.Errorf("%v", err)
	}
}

func TestAFullDiskIsSaid(t *testing.T) {
	for name, dir := range map[string]string{"in a folder": t.TempDir(), "in memory": ""} {
		t.Run(name, func(t *testing.T) {
			db := open(t, dir)
			if _, err := db.Make(t.Context(), notes); err != nil {
				t.Fatal(err)
			}
			exec(t, db, `PRAGMA max_page_count = 20`) // what SQLite does is what it does for ENOSPC: SQLITE_FULL
			_, err := db.Write.ExecContext(t.Context(), `INSERT INTO notes_all (text) WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n LIMIT 400) SELECT printf('%0500d', value) FROM n`)
			alone := db.Explain(err)
			err = db.Transact(t.Context(), func(tx *sql.Tx) error {
				if _, err := tx.ExecContext(t.Context(), `INSERT INTO notes_all (text) VALUES ('before it')`); err != nil {
					return err
				}
				_, err := tx.ExecContext(t.Context(), `INSERT INTO notes_all (text) WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n LIMIT 400) SELECT printf('%0500d', value) FROM n`)
				return err
			})
			for what, err := range map[string]error{"alone": alone, "in a transaction": err, "explained once more": db.Explain(fmt.Errorf("index: %w", err))} {
				if err == nil || strings.Count(err.Error(), db.name()) != 1 || strings.Count(err.Error(), "--keep") != 1 {
					t.Fatalf("%s: %v", what, err)
				}
			}
			if n := count(t, db, "notes_all"); n != 0 {
				t.Errorf("%d rows of it were written", n)
			}
			exec(t, db, `INSERT INTO notes_all (text) VALUES ('small')`)
		})
	}
}

func TestAFolderIsOneConsoles(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no locks here")
	}
	dir := t.TempDir()
	db := open(t, dir)
	_, err := Open(t.Context(), dir)
	if err == nil || !strings.Contains(err.Error(), "data directory "+dir+" is in use by another console; stop it, or choose another with --data-dir") {
		t.Errorf("%v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir)

	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), file); err == nil || !strings.Contains(err.Error(), "data directory "+file) {
		t.Errorf("a file for a folder: %v", err)
	}
}
