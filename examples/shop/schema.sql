-- One schema for PostgreSQL and SQLite. Money is in fen (1/100 CNY). Times are
-- milliseconds since 1970, UTC, so that both databases compare them alike.

-- The shop itself: its name is in its numbers and names its consumer group.
CREATE TABLE IF NOT EXISTS shop (
	one  INTEGER PRIMARY KEY CHECK (one = 1),
	name TEXT NOT NULL
);

-- What a buyer buys. It may need several numbers; it is delivered once.
CREATE TABLE IF NOT EXISTS purchases (
	id         TEXT PRIMARY KEY,
	fee        BIGINT  NOT NULL CHECK (fee > 0),
	state      TEXT    NOT NULL CHECK (state IN ('open', 'paid', 'given_up')),
	delivered  INTEGER NOT NULL DEFAULT 0 CHECK (delivered IN (0, 1)),
	changes    BIGINT  NOT NULL DEFAULT 0, -- counted first by who changes it: that locks the row
	created_at BIGINT  NOT NULL
);

-- One number (out_trade_no) of a purchase: 1, 2, ...
--   created: it stands here; no create call is known to have arrived
--   payable: the gateway has it    closing: asked to close    closed, paid: for good
CREATE TABLE IF NOT EXISTS payments (
	out_trade_no    TEXT PRIMARY KEY,
	purchase        TEXT    NOT NULL REFERENCES purchases (id),
	n               INTEGER NOT NULL,
	fee             BIGINT  NOT NULL,
	state           TEXT    NOT NULL CHECK (state IN ('created', 'payable', 'closing', 'closed', 'paid')),
	new_number      INTEGER NOT NULL DEFAULT 0, -- once closed: 1 the purchase gets a new number, 0 it is given up
	requests        INTEGER NOT NULL DEFAULT 0, -- to close it; the newest request_id ends with this
	create_sent_at  BIGINT  NOT NULL,           -- when the last create call was sent: order_created_at
	create_again_at BIGINT  NOT NULL,
	created_at      BIGINT  NOT NULL,
	code_url        TEXT    NOT NULL DEFAULT '',
	transaction_id  TEXT    NOT NULL DEFAULT '',
	UNIQUE (purchase, n)
);

-- The promise of the whole, held by the database too: a purchase never has two
-- numbers that can be paid.
CREATE UNIQUE INDEX IF NOT EXISTS one_number_at_a_time
	ON payments (purchase) WHERE state IN ('created', 'payable', 'closing');

-- Requests that are to be published. They are written in the transaction in
-- which it is decided that a number shall be closed: either both or neither.
CREATE TABLE IF NOT EXISTS outbox (
	request_id    TEXT PRIMARY KEY,
	record_key    TEXT   NOT NULL,
	headers       TEXT   NOT NULL, -- JSON: [{"Key": "ce_id", "Value": base64}, ...]
	value         TEXT   NOT NULL,
	send_after    BIGINT NOT NULL,
	claimed_until BIGINT NOT NULL DEFAULT 0, -- a relay has it in hand
	sent_at       BIGINT
);
CREATE INDEX IF NOT EXISTS outbox_due ON outbox (send_after) WHERE sent_at IS NULL;

-- The inbox: one outcome per order and request, the one that counts.
CREATE TABLE IF NOT EXISTS outcomes (
	mch_id       TEXT NOT NULL,
	sub_mch_id   TEXT NOT NULL,
	out_trade_no TEXT NOT NULL,
	request_id   TEXT NOT NULL,
	event_id     TEXT NOT NULL,
	value        TEXT NOT NULL,
	PRIMARY KEY (mch_id, sub_mch_id, out_trade_no, request_id)
);

-- What a person has to look at, one line for one thing.
--   close: a close that failed    refund: money that came too late or twice
--   amount, notice, unreadable: what this program does not decide
CREATE TABLE IF NOT EXISTS todo (
	kind    TEXT   NOT NULL,
	subject TEXT   NOT NULL, -- an out_trade_no, or the place of a record
	what    TEXT   NOT NULL,
	since   BIGINT NOT NULL,
	done_at BIGINT,
	PRIMARY KEY (kind, subject)
);
