module example.com/cvms

go 1.22
