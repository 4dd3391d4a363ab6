/* A planner that reads and writes another table: public.dst is public.elsewhere. Distributed tables behave like that. The
 * setting redirect.what is all, reads or nothing. */
#include "postgres.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "fmgr.h"
#include "nodes/parsenodes.h"
#include "optimizer/planner.h"
#include "storage/lmgr.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

PG_MODULE_MAGIC;
void _PG_init(void);
static planner_hook_type previous = NULL;
static char *what = NULL;

static Oid
relation_of(const char *name)
{
	return get_relname_relid(name, get_namespace_oid("public", true));
}

static PlannedStmt *
redirect(Query *query, const char *text, int options, ParamListInfo parameters)
{
	ListCell   *cell;

	foreach(cell, query->rtable)
	{
		RangeTblEntry *table = lfirst_node(RangeTblEntry, cell);

		if (strcmp(what, "nothing") == 0 || (strcmp(what, "reads") == 0 && query->commandType != CMD_SELECT))
			break;
		if (table->rtekind == RTE_RELATION && OidIsValid(table->relid) && table->relid == relation_of("dst"))
		{
			table->relid = relation_of("elsewhere");
			LockRelationOid(table->relid, RowExclusiveLock);
		}
	}
	return previous ? previous(query, text, options, parameters) : standard_planner(query, text, options, parameters);
}

void
_PG_init(void)
{
	DefineCustomStringVariable("redirect.what", "Which statements are sent elsewhere.", NULL, &what, "all", PGC_SUSET, 0, NULL, NULL, NULL);
	previous = planner_hook;
	planner_hook = redirect;
}
