// The new tables, first as mig_ddl() makes them, then with what is added on the way.
import { sql } from 'drizzle-orm'
import {
  bigint, check, foreignKey, index, integer, jsonb, pgTable, primaryKey, serial, text, timestamp, unique, uuid,
} from 'drizzle-orm/pg-core'
import { projects } from './old'

export interface Stage {
  /** Foreign keys come with the end of the backfill: before it a row's parent may not be copied yet. */
  keys: boolean
  /** Both sides draw from one sequence until the old tables are archived. Then it is the new table's, or it has one of its own. */
  archived: boolean
}

const moment = (name: string) => timestamp(name, { withTimezone: true })

export function newTables({ keys, archived }: Stage) {
  const project = () => uuid('project_id').notNull()
  const toProject = (table: string, t: { projectId: any }) =>
    foreignKey({ name: `${table}_project_id_fkey`, columns: [t.projectId], foreignColumns: [projects.id] })
  const counted = (sequence: string) =>
    archived ? serial('id').primaryKey() : integer('id').primaryKey().default(sql.raw(`nextval('${sequence}'::regclass)`))
  const late = <T>(list: T[]) => (keys ? list : [])

  const rounds = pgTable('project_rounds', {
    projectId: project(),
    id: counted('round_metadata_id_seq'),
    slug: text('slug').notNull(),
    title: text('title'),
    opensAt: moment('opens_at').notNull().defaultNow(),
    closesAt: moment('closes_at'),
    settings: jsonb('settings').notNull().default({}),
  }, (t) => [
    check('round_metadata_check', sql`closes_at IS NULL OR closes_at > opens_at`),
    unique('project_rounds_project_id_id_key').on(t.projectId, t.id),
    unique('project_rounds_project_id_slug_key').on(t.projectId, t.slug),
    ...late([toProject('project_rounds', t)]),
  ])

  const id = () => bigint('id', { mode: 'number' }).primaryKey()
  const signUps = pgTable('project_sign_ups', {
    projectId: project(),
    id: archived ? id().generatedAlwaysAsIdentity() : id().default(sql`nextval('sign_ups_id_seq'::regclass)`),
    roundId: integer('round_id').notNull(),
    userId: uuid('user_id').notNull(),
    email: text('email').notNull(),
    youtubeLink: text('youtube_link'),
    createdAt: moment('created_at').notNull().defaultNow(),
  }, (t) => [
    unique('project_sign_ups_project_id_round_id_user_id_key').on(t.projectId, t.roundId, t.userId),
    index('project_sign_ups_project_id_user_id_idx').on(t.projectId, t.userId),
    ...late([
      toProject('project_sign_ups', t),
      foreignKey({ name: 'project_sign_ups_round_id_fkey', columns: [t.projectId, t.roundId], foreignColumns: [rounds.projectId, rounds.id] })
        .onDelete('cascade'),
    ]),
  ])

  const submissions = pgTable('project_submissions', {
    projectId: project(),
    id: uuid('id').primaryKey().defaultRandom(),
    roundId: integer('round_id').notNull(),
    userId: uuid('user_id').notNull(),
    soundcloudUrl: text('soundcloud_url').notNull(),
    extra: jsonb('extra').notNull().default({}),
  }, (t) => [
    unique('project_submissions_project_id_id_key').on(t.projectId, t.id),
    unique('project_submissions_project_id_round_id_user_id_key').on(t.projectId, t.roundId, t.userId),
    ...late([
      toProject('project_submissions', t),
      foreignKey({ name: 'project_submissions_round_id_fkey', columns: [t.projectId, t.roundId], foreignColumns: [rounds.projectId, rounds.id] })
        .onDelete('cascade'),
    ]),
  ])

  const votes = pgTable('project_votes', {
    projectId: project(),
    submissionId: uuid('submission_id').notNull(),
    userId: uuid('user_id').notNull(),
    points: integer('points').notNull().default(1),
  }, (t) => [
    primaryKey({ name: 'project_votes_pkey', columns: [t.projectId, t.submissionId, t.userId] }),
    check('song_selection_votes_points_check', sql`points >= 0 AND points <= 5`),
    ...late([
      toProject('project_votes', t),
      foreignKey({ name: 'project_votes_submission_id_fkey', columns: [t.projectId, t.submissionId], foreignColumns: [submissions.projectId, submissions.id] })
        .onDelete('cascade').onUpdate('cascade'),
    ]),
  ])

  const reminders = pgTable('project_email_reminders', {
    projectId: project(),
    id: counted('email_reminders_sent_id_seq'),
    roundId: integer('round_id'),
    userId: uuid('user_id').notNull(),
    kind: text('kind').notNull().default('voting-closes'),
    sentAt: moment('sent_at').notNull().defaultNow(),
  }, (t) => [
    index('project_email_reminders_project_id_round_id_idx').on(t.projectId, t.roundId),
    ...late([
      toProject('project_email_reminders', t),
      foreignKey({ name: 'project_email_reminders_round_id_fkey', columns: [t.projectId, t.roundId], foreignColumns: [rounds.projectId, rounds.id] })
        .onDelete('set null'),
    ]),
  ])
  return { projectRounds: rounds, projectSignUps: signUps, projectSubmissions: submissions, projectVotes: votes, projectReminders: reminders }
}
