import SlimeCLI

await Slime.main()
