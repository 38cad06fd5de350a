// Package folderlock takes a folder for one process. It knows nothing of what lies
// in it.
package folderlock

import "errors"

// ErrInUse says that another process has the folder.
var ErrInUse = errors.New("in use by another process")
