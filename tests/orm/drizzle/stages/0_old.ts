export * from './old'
