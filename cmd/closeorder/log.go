package main

import (
	"bytes"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/sirupsen/logrus"
)

// logger writes to standard error; standard output is for what was asked for.
func (a *app) logger(cfg config.Log) *logrus.Logger {
	log := logrus.New()
	log.SetOutput(a.stderr)
	if cfg.Format == "json" {
		log.SetFormatter(jsonLog{&logrus.JSONFormatter{}})
	} else {
		log.SetFormatter(textLog{&logrus.TextFormatter{FullTimestamp: true, DisableColors: !bool(a.paint(a.stderr))}})
	}
	if level, err := logrus.ParseLevel(cfg.Level); err == nil { // config has checked it
		log.SetLevel(level)
	}
	return log
}

// textLog writes one line for each entry, whatever stands in it: logrus quotes
// values, but for people on a terminal not the message, and keys never.
type textLog struct{ *logrus.TextFormatter }

func (f textLog) Format(entry *logrus.Entry) ([]byte, error) {
	e := withPlainFields(entry)
	if !f.DisableColors {
		e.Message = cell(e.Message)
	}
	return f.TextFormatter.Format(e)
}

// jsonLog writes one JSON document for each entry. logrus alone writes a list of
// errors as [{}], and loses the whole entry for a field that JSON cannot hold.
type jsonLog struct{ *logrus.JSONFormatter }

func (f jsonLog) Format(entry *logrus.Entry) ([]byte, error) {
	line, err := f.JSONFormatter.Format(withPlainFields(entry))
	if err != nil {
		return nil, err
	}
	var safe bytes.Buffer
	_, err = escaped{&safe}.Write(line)
	return safe.Bytes(), err
}

// withPlainFields is a copy of an entry with fields that any format can write.
func withPlainFields(entry *logrus.Entry) *logrus.Entry {
	e := *entry
	e.Data = make(logrus.Fields, len(entry.Data))
	for key, value := range entry.Data {
		e.Data[cell(key)] = logValue(value)
	}
	return &e
}
