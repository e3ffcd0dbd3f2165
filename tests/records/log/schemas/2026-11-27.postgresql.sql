CREATE TABLE appeals (
    seq BIGSERIAL NOT NULL,
    id VARCHAR(64) NOT NULL,
    model VARCHAR(40) NOT NULL,
    prediction BIGINT NOT NULL,
    claim TEXT NOT NULL,
    state VARCHAR(10) NOT NULL,
    who VARCHAR(200) NOT NULL,
    time VARCHAR(40) NOT NULL,
    PRIMARY KEY (seq)
);
CREATE INDEX appeals_in_order ON appeals (model, prediction, seq);
CREATE TABLE findings (
    model VARCHAR(40) NOT NULL,
    number INTEGER NOT NULL,
    place INTEGER NOT NULL,
    kind VARCHAR(40) NOT NULL,
    subject TEXT NOT NULL,
    value FLOAT,
    low FLOAT,
    high FLOAT,
    reference FLOAT,
    "limit" FLOAT,
    alarm BOOLEAN NOT NULL,
    PRIMARY KEY (model, number, place)
);
CREATE TABLE outcomes (
    seq BIGSERIAL NOT NULL,
    id VARCHAR(64) NOT NULL,
    model VARCHAR(40) NOT NULL,
    prediction BIGINT NOT NULL,
    label BOOLEAN,
    label_name VARCHAR(200),
    label_number FLOAT,
    time VARCHAR(40) NOT NULL,
    PRIMARY KEY (seq)
);
CREATE INDEX outcomes_as_they_came ON outcomes (model, seq);
CREATE INDEX outcomes_in_order ON outcomes (model, prediction, seq);
CREATE TABLE overrides (
    seq BIGSERIAL NOT NULL,
    id VARCHAR(64) NOT NULL,
    model VARCHAR(40) NOT NULL,
    prediction BIGINT NOT NULL,
    label BOOLEAN,
    label_name VARCHAR(200),
    label_number FLOAT,
    who VARCHAR(200) NOT NULL,
    why TEXT NOT NULL,
    time VARCHAR(40) NOT NULL,
    PRIMARY KEY (seq)
);
CREATE INDEX overrides_in_order ON overrides (model, prediction, seq);
CREATE TABLE predictions (
    seq BIGSERIAL NOT NULL,
    id VARCHAR(64) NOT NULL,
    model VARCHAR(40) NOT NULL,
    version VARCHAR(20) NOT NULL,
    time VARCHAR(40) NOT NULL,
    inputs TEXT NOT NULL,
    score FLOAT NOT NULL,
    decision BOOLEAN,
    decision_name VARCHAR(200),
    scores TEXT,
    PRIMARY KEY (seq),
    UNIQUE (id)
);
CREATE INDEX predictions_in_order ON predictions (model, seq, version);
CREATE TABLE profiles (
    model VARCHAR(40) NOT NULL,
    kind VARCHAR(40) NOT NULL,
    number INTEGER NOT NULL,
    format INTEGER NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (model, kind, number)
);
CREATE TABLE reports (
    model VARCHAR(40) NOT NULL,
    number INTEGER NOT NULL,
    version VARCHAR(20) NOT NULL,
    last VARCHAR(40) NOT NULL,
    rows INTEGER NOT NULL,
    labelled INTEGER NOT NULL,
    action VARCHAR(20) NOT NULL,
    report TEXT NOT NULL,
    PRIMARY KEY (model, number)
);
CREATE TABLE reviews (
    seq BIGSERIAL NOT NULL,
    id VARCHAR(64) NOT NULL,
    model VARCHAR(40) NOT NULL,
    prediction BIGINT NOT NULL,
    "window" INTEGER,
    verdict VARCHAR(10) NOT NULL,
    who VARCHAR(200) NOT NULL,
    note TEXT NOT NULL,
    time VARCHAR(40) NOT NULL,
    PRIMARY KEY (seq)
);
CREATE INDEX reviews_in_order ON reviews (model, prediction, seq);
CREATE TABLE windows (
    model VARCHAR(40) NOT NULL,
    number INTEGER NOT NULL,
    version VARCHAR(20) NOT NULL,
    first_seq BIGINT NOT NULL,
    last_seq BIGINT NOT NULL,
    rows INTEGER NOT NULL,
    passed_over BOOLEAN NOT NULL,
    waits BOOLEAN NOT NULL,
    PRIMARY KEY (model, number),
    UNIQUE (model, first_seq)
);
CREATE INDEX windows_that_wait ON windows (model, waits, number);
