package main

import (
	"fmt"
	"math"
	"reflect"
	"time"
	"unicode/utf8"
)

// Bounds of what is written of one field: enough for whatever is logged here, and
// an end for what holds itself.
const (
	deepestLogged = 6
	mostLogged    = 100
)

// logValue is a field as every format can write it: errors, durations and all that
// says itself in words as text, times in RFC 3339 with their zone, lists and
// objects made of such values, and text for the numbers, channels and functions
// that JSON does not know.
func logValue(v any) any {
	switch v := v.(type) {
	case nil, bool, string, int, int32, int64, uint32, uint64:
		return v
	}
	return plainValue(reflect.ValueOf(v), 0)
}

func plainValue(v reflect.Value, depth int) any {
	if !v.IsValid() {
		return nil
	}
	if v.CanInterface() {
		switch said := v.Interface().(type) {
		case time.Time:
			return said.Format(time.RFC3339Nano)
		case error, fmt.Stringer:
			return fmt.Sprint(said) // which survives methods of nil
		case []byte:
			if utf8.Valid(said) {
				return string(said)
			}
			return fmt.Sprintf("%q", said)
		}
	}
	if depth == deepestLogged {
		return "..."
	}
	switch v.Kind() {
	case reflect.Bool:
		return v.Bool()
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return v.Int()
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return v.Uint()
	case reflect.Float32, reflect.Float64:
		if f := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
			return fmt.Sprint(f)
		}
		return v.Float()
	case reflect.String:
		return v.String()
	case reflect.Pointer, reflect.Interface:
		return plainValue(v.Elem(), depth+1)
	case reflect.Slice, reflect.Array:
		return plainList(v, depth)
	case reflect.Map:
		return plainMap(v, depth)
	case reflect.Struct:
		return plainStruct(v, depth)
	}
	return "(" + v.Type().String() + ")"
}

func plainList(v reflect.Value, depth int) any {
	if v.Kind() == reflect.Slice && v.IsNil() {
		return nil
	}
	list := []any{}
	for i := range v.Len() {
		if i == mostLogged {
			return append(list, fmt.Sprintf("and %d more", v.Len()-i))
		}
		list = append(list, plainValue(v.Index(i), depth+1))
	}
	return list
}

func plainMap(v reflect.Value, depth int) any {
	object := map[string]any{}
	for _, key := range v.MapKeys() {
		if len(object) == mostLogged {
			object["..."] = fmt.Sprintf("and %d more", v.Len()-mostLogged)
			break
		}
		object[fmt.Sprint(plainValue(key, depth+1))] = plainValue(v.MapIndex(key), depth+1)
	}
	return object
}

func plainStruct(v reflect.Value, depth int) any {
	object := map[string]any{}
	for i := range v.NumField() {
		if field := v.Type().Field(i); field.IsExported() {
			object[field.Name] = plainValue(v.Field(i), depth+1)
		}
	}
	return object
}
