package doctor

import (
	"slices"

	"github.com/closeorder/closeorder/internal/topics"
)

// Checks are the ids of all checks, in the order in which they are told among those
// of one severity. docs/operations.md says of each what it means and what to do.
func Checks() []string {
	return []string{
		CheckSettings,
		CheckReachable, CheckAdvertised, CheckRelease, CheckLacks, CheckCertificate, CheckToken,
		topics.CheckExists, topics.CheckPartitions, topics.CheckLeaders, topics.CheckReplication, topics.CheckMinInSync, topics.CheckUnclean,
		topics.CheckCleanup, topics.CheckRetention, topics.CheckBytes, topics.CheckSize, topics.CheckTimestamp, topics.CheckFormat, CheckTopicSettings,
		CheckACLTopic, CheckACLGroup, CheckACLIdempotent, CheckACLTransaction,
		CheckTransactions,
		CheckMembers, CheckForeign, CheckProtocol, CheckStatic, CheckMigration, CheckRetained,
		CheckPosition, CheckKeys,
		CheckShape, CheckProbe,
		CheckClock,
		CheckHost, CheckHostCertificate, CheckHostPlain,
	}
}

// order is where a check stands among them.
func order(check string) int { return slices.Index(Checks(), check) }
