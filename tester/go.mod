module shunt/tester

go 1.19
