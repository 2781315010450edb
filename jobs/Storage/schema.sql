-- Applied at every first use; each statement leaves what is there alone.
CREATE TABLE IF NOT EXISTS payouts (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  merchant_id  TEXT    NOT NULL,
  currency     TEXT    NOT NULL,
  payments     INTEGER NOT NULL CHECK (payments > 0),
  amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
  run_id       TEXT    NOT NULL,
  token        INTEGER NOT NULL,
  created_at   TEXT    NOT NULL
);

CREATE TABLE IF NOT EXISTS payments (
  payment_id   TEXT    PRIMARY KEY,
  merchant_id  TEXT    NOT NULL,
  order_id     TEXT    NOT NULL,
  amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
  currency     TEXT    NOT NULL CHECK (length(currency) = 3),
  paid_at      TEXT    NOT NULL,
  paid_day     TEXT    NOT NULL,
  source_file  TEXT    NOT NULL,
  payout_id    INTEGER NULL REFERENCES payouts (id)
);
CREATE INDEX IF NOT EXISTS payments_unsettled ON payments (merchant_id, currency) WHERE payout_id IS NULL;
CREATE INDEX IF NOT EXISTS payments_payout ON payments (payout_id) WHERE payout_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS payments_day ON payments (paid_day);
CREATE INDEX IF NOT EXISTS payments_order ON payments (order_id);

-- The last line of defence: whatever the code does, a payment that is in a payout stays in that one.
CREATE TRIGGER IF NOT EXISTS payments_settled_once BEFORE UPDATE OF payout_id ON payments
WHEN OLD.payout_id IS NOT NULL AND NEW.payout_id IS NOT OLD.payout_id
BEGIN
  SELECT RAISE(ABORT, 'the payment is in a payout already');
END;

-- A payment that was given back before it was in a payout is gone from payments; one that was in a payout stays there, and the merchant
-- owes it.
CREATE TABLE IF NOT EXISTS refunds (
  payment_id   TEXT    PRIMARY KEY,
  order_id     TEXT    NOT NULL,
  amount_minor INTEGER NOT NULL,
  currency     TEXT    NOT NULL,
  was_paid_out INTEGER NOT NULL,
  refunded_at  TEXT    NOT NULL
);
CREATE INDEX IF NOT EXISTS refunds_order ON refunds (order_id);

CREATE TABLE IF NOT EXISTS quarantine (
  file     TEXT    NOT NULL,
  line     INTEGER NOT NULL,
  raw      TEXT    NOT NULL,
  reason   TEXT    NOT NULL,
  found_at TEXT    NOT NULL,
  PRIMARY KEY (file, line, raw)
);

CREATE TABLE IF NOT EXISTS imports (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  file          TEXT    NOT NULL,
  moved_to      TEXT    NOT NULL,
  imported      INTEGER NOT NULL,
  already_known INTEGER NOT NULL,
  rejected      INTEGER NOT NULL,
  finished_at   TEXT    NOT NULL
);

CREATE TABLE IF NOT EXISTS reports (
  day          TEXT    PRIMARY KEY,
  payments     INTEGER NOT NULL,
  exported_at  TEXT    NOT NULL
);

CREATE TABLE IF NOT EXISTS notes (
  name  TEXT PRIMARY KEY,
  value TEXT NOT NULL
);
