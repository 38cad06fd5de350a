package moments

import (
	"reflect"
	"time"
)

// Writable is a document whose every time JSON can hold: timestamps are their
// producers' claims, and may be any time, but RFC 3339 ends with the year 9999. Those
// beyond become the zero time. What the document shares with others is not changed.
func Writable(doc any) any {
	v := reflect.ValueOf(doc)
	if !v.IsValid() || !beyond(v) {
		return doc
	}
	return within(v).Interface()
}

// WritableTime is a time as JSON can hold it, in UTC, and the zero time where it cannot.
func WritableTime(t time.Time) time.Time {
	if t = t.UTC(); unwritable(t) {
		return time.Time{}
	}
	return t
}

// unwritable reports whether a time is one that JSON cannot hold.
func unwritable(t time.Time) bool {
	y := t.Year() // in the zone in which it is written
	return y < 0 || y > 9999
}

// beyond reports whether there is such a time in a value.
func beyond(v reflect.Value) bool {
	if t, is := asTime(v); is {
		return unwritable(t)
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return !v.IsNil() && beyond(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && beyond(v.Field(i)) {
				return true
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if beyond(v.Index(i)) {
				return true
			}
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			if beyond(v.MapIndex(key)) {
				return true
			}
		}
	}
	return false
}

// within is a copy of a value, without such times.
func within(v reflect.Value) reflect.Value {
	if t, is := asTime(v); is {
		if unwritable(t) {
			return reflect.Zero(v.Type())
		}
		return v
	}
	to := reflect.New(v.Type()).Elem()
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return v
		}
		to.Set(reflect.New(v.Type().Elem()))
		to.Elem().Set(within(v.Elem()))
	case reflect.Interface:
		if v.IsNil() {
			return v
		}
		to.Set(within(v.Elem()))
	case reflect.Struct:
		to.Set(v)
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				to.Field(i).Set(within(v.Field(i)))
			}
		}
	case reflect.Slice:
		if v.IsNil() {
			return v
		}
		to.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		for i := range v.Len() {
			to.Index(i).Set(within(v.Index(i)))
		}
	case reflect.Array:
		for i := range v.Len() {
			to.Index(i).Set(within(v.Index(i)))
		}
	case reflect.Map:
		if v.IsNil() {
			return v
		}
		to.Set(reflect.MakeMapWithSize(v.Type(), v.Len()))
		for _, key := range v.MapKeys() {
			to.SetMapIndex(key, within(v.MapIndex(key)))
		}
	default:
		return v
	}
	return to
}

func asTime(v reflect.Value) (time.Time, bool) {
	if v.Type() != reflect.TypeFor[time.Time]() {
		return time.Time{}, false
	}
	return v.Interface().(time.Time), true
}
