package kafka

import (
	"reflect"
	"sync"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/heartbeat"
)

// shape says where the error codes of a type of answer are, and its throttle
// time. It goes by the names that Kafka's message definitions give these
// fields, so that it holds for kafka-go's types and for ours.
type shape struct {
	codes    []int // fields
	throttle int   // field, or -1
	within   []part
}

// part is a field that holds structs with error codes of their own.
type part struct {
	field int
	shape *shape
}

var shapes sync.Map // of reflect.Type: *shape

func shapeOf(t reflect.Type) *shape {
	if known, ok := shapes.Load(t); ok {
		return known.(*shape)
	}
	s := &shape{throttle: -1}
	for i := range t.NumField() {
		f := t.Field(i)
		switch {
		case !f.IsExported():
		case f.Name == "ErrorCode" && f.Type.Kind() == reflect.Int16:
			s.codes = append(s.codes, i)
		case f.Name == "ThrottleTimeMs" && f.Type.Kind() == reflect.Int32:
			s.throttle = i
		case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
			if inner := shapeOf(f.Type.Elem()); len(inner.codes)+len(inner.within) > 0 {
				s.within = append(s.within, part{i, inner})
			}
		}
	}
	shapes.Store(t, s)
	return s
}

func (s *shape) each(v reflect.Value, tell func(code int16)) {
	for _, i := range s.codes {
		if code := int16(v.Field(i).Int()); code != 0 {
			tell(code)
		}
	}
	for _, p := range s.within {
		list := v.Field(p.field)
		for i := range list.Len() {
			p.shape.each(list.Index(i), tell)
		}
	}
}

// eachCode tells of the error codes in an answer, those of its topics and
// partitions too; 0 is none.
func eachCode(answer protocol.Message, tell func(code int16)) {
	if h, ok := answer.(*heartbeat.Response); ok {
		// kafka-go has the fields in the wrong order: see package group.
		if code := int16(h.ThrottleTimeMs); code != 0 {
			tell(code)
		}
		return
	}
	if v := reflect.ValueOf(answer); v.Kind() == reflect.Pointer && v.Elem().Kind() == reflect.Struct {
		shapeOf(v.Elem().Type()).each(v.Elem(), tell)
	}
}

// throttled is for how long the client has to keep back further requests, by
// an answer that came in a version of its API.
func throttled(answer protocol.Message, version int16) time.Duration {
	first, counts := clientWaits[apiOf(answer)]
	if !counts || version < first {
		return 0
	}
	v := reflect.ValueOf(answer)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return 0
	}
	s := shapeOf(v.Elem().Type())
	if s.throttle < 0 {
		return 0
	}
	return time.Duration(v.Elem().Field(s.throttle).Int()) * time.Millisecond
}
