import { sql } from 'drizzle-orm'
import {
  bigint, check, index, integer, jsonb, pgTable, primaryKey, serial, text, timestamp, unique, uuid,
} from 'drizzle-orm/pg-core'

const moment = (name: string) => timestamp(name, { withTimezone: true })

export const projects = pgTable('projects', {
  id: uuid('id').primaryKey(),
  slug: text('slug').notNull().unique(),
  name: text('name').notNull(),
})

export const rounds = pgTable('round_metadata', {
  id: serial('id').primaryKey(),
  slug: text('slug').notNull().unique(),
  title: text('title'),
  opensAt: moment('opens_at').notNull().defaultNow(),
  closesAt: moment('closes_at'),
  settings: jsonb('settings').notNull().default({}),
}, (t) => [check('round_metadata_check', sql`closes_at IS NULL OR closes_at > opens_at`)])

export const signUps = pgTable('sign_ups', {
  id: bigint('id', { mode: 'number' }).primaryKey().generatedAlwaysAsIdentity(),
  roundId: integer('round_id').notNull().references(() => rounds.id, { onDelete: 'cascade' }),
  userId: uuid('user_id').notNull(),
  email: text('email').notNull(),
  youtubeLink: text('youtube_link'),
  createdAt: moment('created_at').notNull().defaultNow(),
}, (t) => [unique().on(t.roundId, t.userId), index('sign_ups_user_idx').on(t.userId)])

export const submissions = pgTable('submissions', {
  id: uuid('id').primaryKey().defaultRandom(),
  roundId: integer('round_id').notNull().references(() => rounds.id, { onDelete: 'cascade' }),
  userId: uuid('user_id').notNull(),
  soundcloudUrl: text('soundcloud_url').notNull(),
  extra: jsonb('extra').notNull().default({}),
}, (t) => [unique().on(t.roundId, t.userId)])

export const votes = pgTable('song_selection_votes', {
  submissionId: uuid('submission_id').notNull().references(() => submissions.id, { onDelete: 'cascade', onUpdate: 'cascade' }),
  userId: uuid('user_id').notNull(),
  points: integer('points').notNull().default(1),
}, (t) => [primaryKey({ columns: [t.submissionId, t.userId] }), check('song_selection_votes_points_check', sql`points >= 0 AND points <= 5`)])

export const reminders = pgTable('email_reminders_sent', {
  id: serial('id').primaryKey(),
  roundId: integer('round_id').references(() => rounds.id, { onDelete: 'set null' }),
  userId: uuid('user_id').notNull(),
  kind: text('kind').notNull().default('voting-closes'),
  sentAt: moment('sent_at').notNull().defaultNow(),
})
